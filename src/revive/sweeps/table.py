"""The table of a sweep, from the summaries of its runs alone. No torch."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from revive.errors import SpecError
from revive.io.json_text import read_json
from revive.sweeps.grid import GridCell


@dataclass(frozen=True, slots=True)
class Spread:
    """A metric over the seeds of one cell.

    Attributes:
        mean: NaN where no run has it.
        deviation: Standard deviation of the sample; NaN below two runs.
        runs: How many runs have it.
    """

    mean: float
    deviation: float
    runs: int

    def __str__(self) -> str:
        """`0.61 ± 0.02`."""
        if self.runs == 0:
            return "-"
        digits = 2 if abs(self.mean) < 100 else 0
        spread = "" if self.runs < 2 else f" ± {self.deviation:.{digits}f}"
        return f"{self.mean:.{digits}f}{spread}"


@dataclass(frozen=True)
class SweepRow:
    """One combination of the grid.

    Attributes:
        values: What it is, by key of the grid.
        metrics: What came out.
        finished: Runs that have a summary.
        failed: Why the others have none, where they ended with an error.
    """

    values: Mapping[str, str]
    metrics: Mapping[str, Spread]
    finished: int
    failed: tuple[str, ...]


def rows(
    cells: Sequence[GridCell], out: Path, metrics: Sequence[str], failures: Mapping[str, str]
) -> list[SweepRow]:
    """A row per cell, means over the seeds that finished.

    Args:
        cells: The grid.
        out: Folder of the runs.
        metrics: Columns.
        failures: Reason by name of a run that ended with an error.
    """
    table: list[SweepRow] = []
    for cell in cells:
        summaries = [s for arm in cell.arms if (s := _summary(out / arm.name)) is not None]
        values = [metrics_of(s) for s in summaries]
        spreads = {m: _spread([v[m] for v in values if m in v]) for m in metrics}
        failed = tuple(failures[a.name] for a in cell.arms if a.name in failures)
        table.append(SweepRow(cell.values, spreads, len(summaries), failed))
    return table


def metrics_of(summary: Mapping[str, Any]) -> dict[str, float]:
    """Final metrics of a run, those over the unedited model's, and the time without probes."""
    final = {k: v for k, v in summary["final"].items() if isinstance(v, int | float)}
    before = cast("dict[str, object]", summary["unedited"])
    for name, metric in (("general_kept", "general"), ("recall_kept", "fact_recall")):
        base = before.get(metric)
        if metric in final and isinstance(base, int | float) and base > 0:
            final[name] = final[metric] / base
    seconds = summary["seconds"]
    final["edit_seconds"] = seconds["total"] - seconds.get("probe", 0.0)
    final["failed"] = float(summary.get("failed", 0))
    return {k: float(v) for k, v in final.items()}


def markdown(table: Sequence[SweepRow], metrics: Sequence[str]) -> str:
    """The table in Markdown; a cell that lacks runs says how many it has."""
    keys = list(table[0].values) if table else []
    lines = [
        "| " + " | ".join([*keys, *metrics]) + " |",
        "|" + "---|" * (len(keys) + len(metrics)),
    ]
    seeds = max((row.finished + len(row.failed) for row in table), default=0)
    for row in table:
        shown = [str(row.metrics[m]) for m in metrics]
        if row.finished < seeds:
            shown[-1] += f" ({row.finished} of {seeds} runs)"
        lines.append("| " + " | ".join([*row.values.values(), *shown]) + " |")
    return "\n".join(lines)


def _summary(folder: Path) -> dict[str, Any] | None:
    path = folder / "summary.json"
    if not path.exists():
        return None
    try:
        value: object = read_json(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise SpecError(
            f"{path}: is damaged ({error}); 'revive resume' writes it again."
        ) from error
    if not isinstance(value, dict):
        raise SpecError(f"{path}: is no summary; 'revive resume {folder}' writes it again.")
    return cast("dict[str, Any]", value)


def _spread(values: Sequence[float]) -> Spread:
    known = [v for v in values if math.isfinite(v)]
    if not known:
        return Spread(math.nan, math.nan, 0)
    deviation = statistics.stdev(known) if len(known) > 1 else math.nan
    return Spread(statistics.fmean(known), deviation, len(known))
