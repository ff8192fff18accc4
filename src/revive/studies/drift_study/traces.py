"""What was measured of many runs over their edits: the studies' input. No torch."""

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from revive.errors import SpecError
from revive.io.json_text import read_json
from revive.report.reading.curves import Summary
from revive.report.reading.events import read_events
from revive.report.reading.files import derive_summary, read_spec, read_summary

KEPT = "kept"
"""General ability over the unedited model's: not measured itself, so it is added to every trace."""

EDITS = "edits"
"""The number of edits itself, as the measure that any other one must beat."""

_SEED = re.compile(r"_s\d+$")


@dataclass(frozen=True)
class Trace:
    """One run.

    Attributes:
        run: Its name.
        group: Runs that differ in nothing but the seed: the name without its `_s<seed>`.
        values: By measure, its value by number of edits; 0 is the unedited model. What is not
            finite is left out.
    """

    run: str
    group: str
    values: dict[str, dict[int, float]]

    def series(self, measure: str) -> tuple[list[int], list[float]]:
        """Edits and values of a measure, ascending; empty if it was not measured."""
        found = self.values.get(measure, {})
        return sorted(found), [found[n] for n in sorted(found)]

    def first_below(self, measure: str, level: float) -> float | None:
        """Edits at which a measure first falls below a level, linear between measurements."""
        edits, values = self.series(measure)
        for i, value in enumerate(values):
            if value < level:
                if i == 0:
                    return float(edits[0])
                part = (values[i - 1] - level) / (values[i - 1] - value)
                return edits[i - 1] + part * (edits[i] - edits[i - 1])
        return None


def read_trace(folder: Path) -> Trace:
    """Read a run folder, or one of which only `summary.json` was kept.

    Raises:
        SpecError: Neither a summary nor a journal is there, or one cannot be read.
    """
    if (folder / "summary.json").is_file():
        summary = read_summary(folder / "summary.json")
    elif (folder / "journal.jsonl").is_file() and (folder / "spec.yaml").is_file():
        events = read_events(folder / "journal.jsonl")
        summary = derive_summary(read_spec(folder / "spec.yaml"), events)
    else:
        raise SpecError(
            f"{folder}: no summary.json and no journal.jsonl with a spec.yaml; give folders that "
            "`revive run` wrote."
        )
    return _trace(folder.name, summary)


def read_traces(folders: Sequence[Path]) -> list[Trace]:
    """Read several.

    Raises:
        SpecError: None is given, or one cannot be read.
    """
    if not folders:
        raise SpecError("no run folder given; the drift study compares many runs.")
    return [read_trace(folder) for folder in folders]


def compact(summary: Path) -> str:
    """A summary's content without what this study and its tables do not need, as JSON text."""
    kept = ("schema", "run", "model", "editor", "guard", "edits", "unedited", "curve", "seconds")
    content = read_json(summary.read_text(encoding="utf-8"))
    return json.dumps({key: content[key] for key in kept if key in content}) + "\n"


def _trace(name: str, summary: Summary) -> Trace:
    values: dict[str, dict[int, float]] = {}
    rows = [(0, summary.unedited), *((point.edits, point.metrics) for point in summary.curve)]
    for edits, metrics in rows:
        for measure, value in metrics.items():
            if math.isfinite(value):
                values.setdefault(measure, {})[edits] = value
    values[EDITS] = {n: float(n) for n, _ in rows}
    before = values.get("general", {}).get(0, 0.0)
    if before > 0:
        values[KEPT] = {n: v / before for n, v in values["general"].items()}
    return Trace(name, _SEED.sub("", name), values)
