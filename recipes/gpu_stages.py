"""The stages of `gpu_study.py`: each does its part once, and can be stopped at any moment."""

import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gpu_plan import Cell, Fitted, Plan, Training, arms, editor_spec, model_parts, passes

from lab import card, evaluate, mix, train
from revive.assembly.calibrate_from_spec import scan_strength
from revive.errors import PrerequisiteError
from revive.report.study_page import Chapter
from revive.spec.parsing import parse_spec, read_model_config, resolve
from revive.studies.characterise import Subject, perturb_chapter, reconstruct_chapter
from revive.studies.points import PointLog
from revive.sweeps.variants import run_variants

Told = Callable[[str, int, int], None]
_FRESH_SEED = 1_000  # of the batch that settings are chosen on, which no run edits


class TimeIsUp(Exception):
    """The budget is spent; what was done is on the disk."""


@dataclass(frozen=True)
class Room:
    """Where a study works, and with what.

    Attributes:
        plan: What is to be done.
        work: Model, runs and points of the studies.
        data: Source texts of the training.
        device: As in a spec.
        seeds: Of the runs.
        jobs: Runs at a time.
        compile: Whether torch compiles the training's forward pass.
        deadline: When time is up, by the monotonic clock; None never.
        show: Shows progress.
    """

    plan: Plan
    work: Path
    data: Path
    device: str
    seeds: list[int]
    jobs: int
    compile: bool
    deadline: float | None
    show: Told

    @property
    def model(self) -> Path:
        """The trained model."""
        return self.work / "finish" / "model"

    def told(self, phase: str, done: int, total: int) -> None:
        """Show progress, and stop if time is up.

        Raises:
            TimeIsUp: It is.
        """
        self.show(phase, done, total)
        self.check()

    def check(self) -> None:
        """Stop if time is up.

        Raises:
            TimeIsUp: It is.
        """
        if self.deadline is not None and time.monotonic() >= self.deadline:
            raise TimeIsUp


Result = Mapping[str, Any]
Stage = Callable[[Room, Mapping[str, Result]], Result]
"""Takes the results of the stages before; gives its own, as plain data."""


def stages(plan: Plan) -> dict[str, Stage]:
    """All of them in order, the most informative first."""
    first, *later = (
        (f"frontier, {name}", _frontier(name, cells)) for name, cells in passes(plan).items()
    )
    return {
        "train, learn": _learn,
        "train, finish": _finish,
        "evaluate": _evaluate,
        "fit": _fit,
        first[0]: first[1],
        "reconstruct": _reconstruct,
        "perturb": _perturb,
        **dict(later),
    }


def _learn(room: Room, before: Mapping[str, Result]) -> Result:
    del before
    return _trained(room, "learn", room.plan.learn, None)


def _finish(room: Room, before: Mapping[str, Result]) -> Result:
    del before
    return _trained(room, "finish", room.plan.finish, room.work / "learn" / "model")


def _trained(room: Room, name: str, training: Training, start: Path | None) -> Result:
    missing = [n for n in mix.SOURCES if not (room.data / "text" / n).is_file()]
    if missing:
        raise PrerequisiteError(
            f"--data {room.data}: holds no text/{missing[0]}, which the model is trained on; point "
            "it at a folder that does."
        )
    folder = room.work / name / "model"
    # Written last: a model that has it is whole.
    if not (folder / "training.json").is_file():
        options = train.Options(
            data=room.data,
            out=room.work / name,
            size=room.plan.size,
            device=room.device,
            seed=0,
            exposures=training.exposures,
            rate=training.rate,
            batch=room.plan.rows,
            length=96,
            threads=1 if room.device == "cpu" else 2,
            facts=room.plan.facts,
            resume=True,
            start=start,
            compile=room.compile,
        )
        train.run(options, lambda done, total: room.told(f"train, {name}", done, total))
    stage = card.read_stages(folder)[-1]
    rate = stage.tokens / (60 * stage.minutes) if stage.minutes else None
    return {**asdict(stage), "tokens_per_second": rate}


def _evaluate(room: Room, before: Mapping[str, Result]) -> Result:
    del before
    found = evaluate.evaluate(room.model, room.data, room.device, facts=room.plan.evaluated)
    card.write(room.model, card.read_stages(room.model), found)
    return found


def _fit(room: Room, before: Mapping[str, Result]) -> Result:
    """Blocks, step size and lambda, on one fresh batch of the unguarded editor.

    The rule for lambda is that of `revive calibrate`; of blocks and step sizes, the pair wins whose
    score at that lambda is highest.
    """
    del before
    plan = room.plan
    tried = [(layers, rate) for layers in plan.layers for rate in plan.rates]
    head = {"tried": tried, "fresh": plan.fresh, "model": str(room.model)}
    log = PointLog(room.work / "fit.jsonl", head)
    config = read_model_config(str(room.model))
    for number, (layers, rate) in enumerate(tried):
        room.told("fit", number, len(tried))
        name = f"layers {layers} rate {rate:g}"
        if name in log:
            continue
        data: dict[str, object] = {
            **model_parts(room.model, room.device),
            "edits": {
                "path": "lab",
                "limit": plan.fresh,
                "batch_size": plan.fresh,
                "seed": _FRESH_SEED,
            },
            "editor": editor_spec("memit", Fitted(layers, rate, 0.0), None),
            "threads": 1,
        }
        spec = resolve(parse_spec(data, "fit"), config)
        found = scan_strength(spec, lambda _phase, _done, _total: room.check())
        trial = next(t for t in found.trials if t.value == found.value)
        log.add(name, {"ridge": trial.value, "score": trial.score, "exact": trial.efficacy_exact})
    room.show("fit", len(tried), len(tried))
    rows = [
        {"layers": list(layers), "rate": rate, **log[f"layers {layers} rate {rate:g}"]}
        for layers, rate in tried
    ]
    best = max(rows, key=lambda row: row["score"])
    return {"layers": best["layers"], "rate": best["rate"], "ridge": best["ridge"], "tried": rows}


def fitted(results: Mapping[str, Result]) -> Fitted | None:
    """What the fresh batch chose; None before that."""
    found = results.get("fit")
    if found is None:
        return None
    return Fitted(tuple(found["layers"]), found["rate"], found["ridge"])


def _frontier(title: str, cells: list[Cell]) -> Stage:
    def stage(room: Room, before: Mapping[str, Result]) -> Result:
        chosen = fitted(before)
        assert chosen is not None, "settings are fitted first"
        runs = list(arms(room.plan, chosen, cells, room.seeds, room.model, room.device))
        out = room.work / "arms"
        done = {arm.label: room.plan.counts[-1] for arm in runs if _finished(out / arm.name)}
        total = room.plan.counts[-1] * len(runs)

        def report(label: str, edits: int, metrics: Mapping[str, float], phase: str) -> None:
            del metrics, phase
            done[label] = edits
            if _finished(out / label):
                _thin(out / label)
            room.told(f"frontier, {title}", sum(done.values()), total)

        room.check()
        failures = run_variants(runs, out, jobs=room.jobs, report=report, keep_going=True)
        for arm in runs:
            _thin(out / arm.name)
        return {"runs": [arm.name for arm in runs], "failed": failures}

    return stage


def _finished(folder: Path) -> bool:
    return (folder / "summary.json").is_file()


def _thin(folder: Path) -> None:
    """Drop of a finished run what only resuming it would need: gigabytes, over all of them."""
    if _finished(folder):
        for name in ("updates", "checkpoints"):
            shutil.rmtree(folder / name, ignore_errors=True)


def _reconstruct(room: Room, before: Mapping[str, Result]) -> Result:
    return _chapter(reconstruct_chapter, room, before)


def _perturb(room: Room, before: Mapping[str, Result]) -> Result:
    return _chapter(perturb_chapter, room, before)


def _chapter(study: Callable[..., Chapter], room: Room, before: Mapping[str, Result]) -> Result:
    chosen = fitted(before)
    assert chosen is not None, "settings are fitted first"
    subject = Subject.load(
        {"name": str(room.model), "device": room.device},
        ",".join(map(str, chosen.layers)),
        bands=room.plan.bands,
        draws=room.plan.draws,
        items=room.plan.study,
    )
    return chapter_data(study(subject, room.work / "studies", room.told))


def chapter_data(chapter: Chapter) -> Result:
    """A study's note and tables as plain data."""
    tables = [
        {"title": t.title, "note": t.note, "header": list(t.header), "rows": [*map(list, t.rows)]}
        for t in chapter.tables
    ]
    return {"note": chapter.note, "tables": tables}
