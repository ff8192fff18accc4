"""Loss evaluations against success: how targets are solved, on a real model.

    python recipes/target_solver.py --edits 40 --data counterfact.json --out FOLDER

One batch of facts is solved in several ways, each is written over the same blocks at the same
lambda without a guard, scored and undone. Ways differ in the rule of the step (Adam, as published,
or Polyak's), in when a target is done (loss below 0.05, as published; every token first; or ahead
of every other one by a margin) and in the number of contexts. The first table entry of a pair of
rules is the published one. CPU seconds are those of solving alone, on one thread: they hang on
evaluations and rows, and little on what else the machine does.

Ways that are in the folder's `result.json` already are not tried again.
"""

import argparse
import csv
import json
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from revive.assembly.build import Built, build, load_for
from revive.assembly.fit_settings import trial_edits, try_edits
from revive.data.edits import Edit
from revive.data.readers import load_edits
from revive.editors.target_editor import TargetEditor
from revive.io.atomic import write_text
from revive.io.cache import cache_folder
from revive.models.loading import LoadedModel
from revive.options.editors import TargetOptions
from revive.probes.edits import score_edits
from revive.runs.environment import environment
from revive.spec.parsing import editor_options, parse_spec, read_model_config, resolve

_THREADS = 1


@dataclass(frozen=True)
class Way:
    """One way to solve targets; None where a setting has no part in it."""

    optimizer: Literal["adam", "polyak"]
    contexts: int
    lr: float | None = None
    max_step: float | None = None
    stop_margin: float | None = None

    @property
    def name(self) -> str:
        """As in the table, and in the folder."""
        size = f"lr {self.lr:g}" if self.lr else f"max_step {self.max_step:g}"
        stop = {None: "loss 0.05", 0.0: "first rank"}.get(
            self.stop_margin, f"margin {self.stop_margin}"
        )
        return f"{self.optimizer} {size}, {stop}, {self.contexts} contexts"


def ways() -> Iterator[Way]:
    """Those of one number of contexts side by side: they share what is built once."""
    for lr in (0.1, 0.5):
        for margin in (None, 0.0, 3.0):
            yield Way("adam", 5, lr=lr, stop_margin=margin)
    yield Way("polyak", 5, max_step=0.2, stop_margin=3.0)
    yield Way("adam", 2, lr=0.5)
    for margin in (1.0, 2.0, 3.0, 4.0):
        yield Way("polyak", 2, max_step=0.2, stop_margin=margin)
    for step in (0.1, 0.4):
        yield Way("polyak", 2, max_step=step, stop_margin=3.0)
    yield Way("adam", 0, lr=0.5)
    yield Way("polyak", 0, max_step=0.2, stop_margin=3.0)


@dataclass(frozen=True)
class Outcome:
    """What one way came to, on n edits.

    Attributes:
        way: Its name.
        edits: n.
        evaluations: Loss evaluations of a target, mean.
        shift: ||z - z_0|| / ||z_0||, mean.
        reached: Share of targets that were done within the steps, or below a loss of 0.5.
        exact: Share of edits that the written model answers with the new target.
        paraphrase: Share of paraphrases that prefer the new target.
        neighborhood: Share of neighbours that prefer the true one.
        update: Longest update over its weight, Frobenius.
        cpu_seconds: Of solving, an edit.
    """

    way: str
    edits: int
    evaluations: float
    shift: float
    reached: float
    exact: float
    paraphrase: float
    neighborhood: float
    update: float
    cpu_seconds: float


def prepared(model: str, contexts: int, loaded: LoadedModel | None) -> Built:
    """An engine with the settings of the rule, and so many contexts."""
    spec = parse_spec(
        {
            "model": {"name": model, "device": "cpu"},
            "edits": {"path": "unused"},
            "editor": {"name": "memit", "preset": "rule", "fit": [], "contexts": contexts},
            "guard": "none",
            "threads": _THREADS,
        },
        "target_solver",
    )
    spec = resolve(spec, read_model_config(model))
    return build(spec, loaded or load_for(spec), (), cache=cache_folder())


def tried(built: Built, edits: Sequence[Edit], way: Way) -> Outcome:
    """Solve, write, score, undo."""
    options = editor_options(built.spec.editor)
    assert isinstance(options, TargetOptions)
    settings = {k: v for k, v in asdict(way).items() if v is not None or k == "stop_margin"}
    editor = type(built.engine.editor)(options.model_copy(update=settings))
    assert isinstance(editor, TargetEditor)
    built.engine.editor = editor
    started = time.process_time()
    solved = editor.solve_batch(edits, built.engine.context)
    took = time.process_time() - started
    _, found = try_edits(built, edits, settings, solved)
    return Outcome(
        way=way.name,
        edits=len(edits),
        evaluations=found.evaluations,
        shift=found.shift,
        reached=found.reached,
        exact=found.answered,
        paraphrase=found.paraphrase,
        neighborhood=found.neighborhood,
        update=found.update,
        cpu_seconds=took / len(edits),
    )


def table(result: dict[str, Any]) -> str:
    """The page."""
    env, before = result["environment"], result["unedited"]
    lines = [
        "# Solving targets: evaluations against success",
        "",
        f"{result['date']}, {result['model']}, {result['edits']} facts of {result['data']} in one "
        f"batch, blocks {result['layers']}, lambda {result['ridge']:g}, no guard; clamp "
        f"{result['clamp']:g}, at most {result['steps']} evaluations, {env['threads']} thread, "
        f"load of the machine {result['load']:.1f} on {env['cpu_count']} cores. The unedited "
        f"model: exact {before['efficacy_exact']:.2f}, paraphrase {before['paraphrase']:.2f}, "
        f"neighbourhood {before['neighborhood']:.2f}.",
        "",
        "| way | evaluations | shift | reached | exact | paraphrase | neighbourhood | update / "
        "weight | CPU s an edit |",
        "|:--|" + "--:|" * 8,
    ]
    for row in result["rows"]:
        lines.append(
            f"| {row['way']} | {row['evaluations']:.1f} | {row['shift']:.2f} | "
            f"{row['reached']:.2f} | {row['exact']:.2f} | {row['paraphrase']:.2f} | "
            f"{row['neighborhood']:.2f} | {row['update']:.2f} | {row['cpu_seconds']:.2f} |"
        )
    return "\n".join(lines) + "\n"


def save(out: Path, result: dict[str, Any]) -> None:
    """The same numbers as JSON, CSV and a page."""
    out.mkdir(parents=True, exist_ok=True)
    write_text(out / "result.json", json.dumps(result, indent=2) + "\n")
    write_text(out / "result.md", table(result))
    with (out / "result.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(result["rows"][0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(result["rows"])


def begun(out: Path, fresh: dict[str, Any]) -> dict[str, Any]:
    """What the folder holds of the same batch, else a fresh result."""
    path = out / "result.json"
    if not path.exists():
        return fresh
    kept = json.loads(path.read_text(encoding="utf-8"))
    same = ("model", "data", "edits", "layers", "ridge", "clamp", "steps")
    return kept if all(kept[key] == fresh[key] for key in same) else fresh


def main() -> None:
    """Try every way, keep each as it is done, print the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="smollm2", help="default: smollm2")
    parser.add_argument("--edits", type=int, default=40, help="default: 40")
    parser.add_argument(
        "--data", type=Path, help="an edit file (default: the package's twelve trial edits)"
    )
    parser.add_argument("--out", type=Path, default=Path("target-solver"), help="a folder")
    chosen = parser.parse_args()
    edits = trial_edits()
    if chosen.data is not None:
        edits = load_edits(chosen.data, limit=chosen.edits, on_conflict="last").edits
    edits = edits[: chosen.edits]
    built = prepared(chosen.model, 5, None)
    options = editor_options(built.spec.editor).model_dump()
    loaded = built.loaded
    result = begun(
        chosen.out,
        {
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "model": chosen.model,
            "data": "the package" if chosen.data is None else chosen.data.name,
            "edits": len(edits),
            **{key: options[key] for key in ("layers", "ridge", "clamp", "steps")},
            "load": os.getloadavg()[0],
            "environment": environment(
                model_fingerprint=loaded.fingerprint, device=None, threads=_THREADS
            ),
            "unedited": {},
            "rows": [],
        },
    )
    result["unedited"] = (
        result["unedited"] or score_edits(loaded.model, loaded.tokenizer, edits).metrics()
    )
    done = {row["way"] for row in result["rows"]}
    contexts = 5
    for way in ways():
        if way.name in done:
            continue
        if way.contexts != contexts:
            built, contexts = prepared(chosen.model, way.contexts, loaded), way.contexts
        result["rows"].append(asdict(tried(built, edits, way)))
        save(chosen.out, result)
    print(table(result))


if __name__ == "__main__":
    main()
