"""Edits under quantisation: what a run's edits and the model's ability are worth in fewer bits.

    python recipes/quantised.py RUN [RUN ...] --text wikitext.txt --out FOLDER

Every run's model is written in GGUF's types by the quantisers of the `gguf` package and measured as
it is read back, in float32: first with the edited projections alone in that type, everything else
as the run had it (what `revive export --format gguf --dtype TYPE` writes); then with every matrix
in it (what `llama-quantize` makes of an edited file). `update kept` is the share of the update that
is still there, along the update: <Q(W0 + D) - W0, D> / |D|^2. What is in the folder's `result.json`
already is not measured again.
"""

import argparse
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import torch
from torch import Tensor

from revive.data.prompts import Prompts
from revive.export.gguf_types import fitting, kind_of, rounded
from revive.io.atomic import write_text
from revive.models.family import write_weight
from revive.models.ledger import Ledger
from revive.runs.environment import environment
from revive.runs.rebuild import RebuiltModel, rebuild
from revive.scoring.score import perplexity, score_targets
from revive.spec.edit_stream import ordered, read_edits

AS_EDITED = "as edited"
TYPES = ("float16", "q8_0", "q5_1", "q4_1", "q4_0")
SCOPES = ("edited", "all")


@dataclass(frozen=True)
class Row:
    """One model as it is read back.

    Attributes:
        run: Name of the run folder.
        edits: How many the run made.
        guard: The run's.
        scope: Which matrices are rounded: the `edited` ones, or `all`.
        kind: To what.
        edited: Whether the edits are in it.
        size: Norm of the run's updates over that of the weights, all edited matrices together.
        kept: Share of the update that is left; None without edits.
        exact: Share of the edits that greedy generation answers.
        perplexity: Of ordinary text.
    """

    run: str
    edits: int
    guard: str
    scope: str
    kind: str
    edited: bool
    size: float
    kept: float | None
    exact: float
    perplexity: float

    @property
    def key(self) -> tuple[str, str, str, bool]:
        """What tells it from others."""
        return self.run, self.scope, self.kind, self.edited


def read_back(weight: Tensor, kind: str) -> Tensor:
    """A matrix as a file of that type gives it back."""
    values = weight.float().numpy()
    return torch.from_numpy(rounded(values, fitting(kind_of(kind), values)))


@contextmanager
def in_type(rebuilt: RebuiltModel, scope: str, kind: str, edited: bool) -> Iterator[float | None]:
    """The model with its matrices in a type; gives the share of the update that is kept."""
    model, ledger = rebuilt.loaded.model, rebuilt.ledger
    before: dict[str, Tensor] = {}
    inner = total = 0.0
    try:
        for key in ledger.used:
            weight = ledger.weight(key) if edited else ledger.original(key)
            held = weight if kind == AS_EDITED else read_back(weight, kind)
            write_weight(model, ledger.sites[key], held)
            delta = ledger.delta(key)
            inner += float(((held - ledger.original(key)) * delta).sum())
            total += float(delta.square().sum())
        for name, parameter in model.named_parameters() if scope == "all" else ():
            if parameter.ndim == 2 and name not in ledger.used and kind != AS_EDITED:
                before[name] = parameter.detach().clone()
                parameter.data.copy_(read_back(parameter.detach(), kind))
        yield inner / total if edited else None
    finally:
        for name, value in before.items():
            model.get_parameter(name).data.copy_(value)
        for key in ledger.used:
            write_weight(model, ledger.sites[key], ledger.weight(key))


def size(ledger: Ledger) -> float:
    """Norm of all updates over that of the weights."""
    parts = [
        (ledger.delta(key).square().sum(), ledger.original(key).square().sum())
        for key in ledger.used
    ]
    update, weight = (float(sum(column)) for column in zip(*parts, strict=True))
    return (update / weight) ** 0.5


def measured(
    rebuilt: RebuiltModel, run: Path, scope: str, kind: str, edited: bool, text: str
) -> Row:
    """Round, ask, put back."""
    model, tokenizer = rebuilt.loaded.model, rebuilt.loaded.tokenizer
    stream = ordered(rebuilt.spec, read_edits(rebuilt.spec))
    edits = stream.standing(stream.count(rebuilt.step))
    read = Prompts(tokenizer).of
    prompts, targets = [read(e) for e in edits], [e.target_new for e in edits]
    with in_type(rebuilt, scope, kind, edited) as kept:
        exact = float(score_targets(model, tokenizer, prompts, targets).exact.double().mean())
        found = perplexity(model, tokenizer, text)
    guard = rebuilt.spec.guard.title
    return Row(
        run.name, len(edits), guard, scope, kind, edited, size(rebuilt.ledger), kept, exact, found
    )


def cells() -> Iterator[tuple[str, str, bool]]:
    """Scope, type and whether the edits are in it, what matters most first."""
    yield "edited", AS_EDITED, True
    for scope in SCOPES:
        yield from ((scope, kind, True) for kind in TYPES)
    yield "edited", AS_EDITED, False
    yield from (("all", kind, False) for kind in TYPES)


def table(result: Mapping[str, object], rows: list[Row]) -> str:
    """The page."""
    unedited = {(r.scope, r.kind): r for r in rows if not r.edited}
    lines = [
        f"{result['date']}, {result['model']}; perplexity of the first {result['characters']:,} "
        f"characters of {result['text']}.",
        "",
        "| edits, guard | update / weight | rounded | type | update kept | edits answer | "
        "perplexity | unedited, likewise |",
        "|:--|--:|:--|:--|--:|--:|--:|--:|",
    ]
    for row in (r for r in rows if r.edited):
        base = unedited.get((row.scope if row.scope == "all" else "edited", row.kind))
        scope = "nothing" if row.kind == AS_EDITED else f"{row.scope} matrices"
        lines.append(
            f"| {row.edits}, {row.guard} | {row.size:.3f} | {scope} | {row.kind} | "
            f"{row.kept:.2f} | {row.exact:.2f} | {row.perplexity:.1f} | "
            f"{'' if base is None else f'{base.perplexity:.1f}'} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure every cell, keep each as it is done, print the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="+", type=Path, help="run folders of one model and stream")
    parser.add_argument("--text", required=True, type=Path, help="ordinary text")
    parser.add_argument("--characters", default=4_000, type=int, help="of it (default: 4,000)")
    parser.add_argument("--out", required=True, type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    text = given.text.read_text("utf-8")[: given.characters]
    place = given.out / "result.json"
    rows: list[Row] = []
    if place.exists():
        rows = [Row(**row) for row in json.loads(place.read_text("utf-8"))["rows"]]
    done = {row.key for row in rows}
    for run in given.runs:
        rebuilt = rebuild(run)
        for scope, kind, edited in cells():
            # Without its edits one run's model is the other's.
            name = run.name if edited else given.runs[0].name
            if (name, scope, kind, edited) in done:
                continue
            row = measured(rebuilt, given.runs[0] if not edited else run, scope, kind, edited, text)
            rows.append(row)
            done.add(row.key)
            result = {
                "date": datetime.now(UTC).date().isoformat(),
                "model": rebuilt.spec.model.name,
                "text": given.text.name,
                "characters": len(text),
                "threads": 1,
                "load": os.getloadavg()[0],
                "environment": environment(model_fingerprint=rebuilt.loaded.fingerprint, threads=1),
                "rows": [asdict(r) for r in rows],
            }
            write_text(place, json.dumps(result, indent=2) + "\n")
            write_text(given.out / "result.md", table(result, rows))
    print((given.out / "result.md").read_text("utf-8"))


if __name__ == "__main__":
    main()
