"""The tables of the drift study. No torch."""

import math
from collections.abc import Sequence

from revive.report.compare import wilson
from revive.studies.drift_study.foresight import Foresight
from revive.studies.drift_study.lead_lag import LeadLag
from revive.studies.drift_study.levels import LOST
from revive.studies.drift_study.traces import KEPT, Trace
from revive.studies.resampling import ResampledEstimate
from revive.studies.table import StudyTable


def losses(traces: Sequence[Trace]) -> StudyTable:
    """When each arm lost general ability."""
    rows: list[tuple[str, ...]] = []
    for group in sorted({t.group for t in traces}):
        runs = [t for t in traces if t.group == group and KEPT in t.values]
        lost = [n for t in runs if (n := t.first_below(KEPT, LOST)) is not None]
        ends = [t.series(KEPT)[1][-1] for t in runs]
        cells = ", ".join(f"{n:.0f}" for n in sorted(lost)) or "-"
        rows.append((group, str(len(runs)), str(len(lost)), cells, _range(ends)))
    return StudyTable(
        f"When {1 - LOST:.0%} of general ability is lost",
        "Edits, by run; ability kept at the end, smallest and largest.",
        ("arm", "runs", "lost it", "after edits", "kept at the end"),
        tuple(rows),
    )


def leads(found: Sequence[LeadLag], target: str, ahead: int) -> StudyTable:
    """Every measure against one target."""
    rows = [
        (
            x.measure,
            _estimate(x.lead, 0),
            _estimate(x.lag, 0),
            _estimate(x.together, 2),
            _estimate(x.foretells, 2),
            "leads" if x.leads() else "-",
        )
        for x in found
        if x.target == target
    ]
    return StudyTable(
        f"What leads the loss of {target}",
        "Mean [95 % interval over arms and runs]; p against arms paired at random. lead: edits by "
        "which half of the way is made earlier; lag, r: where increments correlate best, and how; "
        f"foretells: rank correlation over runs with the target {ahead} edits later.",
        ("measure", "lead", "lag", "r at that lag", "foretells", "verdict"),
        tuple(rows),
    )


def alarms(found: Sequence[Foresight], horizon: int) -> StudyTable:
    """Every measure as an alarm."""
    rows = [
        (
            a.measure,
            f"{'>' if a.above else '<'} {a.level:.3g} ({a.levels[0]:.3g} to {a.levels[1]:.3g})",
            f"{a.outcomes.count('in time')}/{a.lost}",
            _rate(*a.missed),
            _rate(*a.false),
            _range(a.lead),
        )
        for a in found
    ]
    return StudyTable(
        f"An alarm before {1 - LOST:.0%} of general ability is lost",
        "Judged on arms that the level was not fitted on; rates with Wilson 95 % intervals (as "
        "if runs were independent, which runs of one arm are not). level: fitted on all, and "
        "its range over the arms left out. An alarm more than "
        f"{horizon} edits before the loss, or without one, is false. edits and kept are "
        "the controls: counting edits, and measuring ability itself.",
        ("measure", "level", "in time", "miss rate", "false-alarm rate", "edits ahead"),
        tuple(rows),
    )


def forecasts(found: Sequence[Foresight]) -> StudyTable:
    """Every measure as a forecast."""
    rows: list[tuple[str, ...]] = []
    for alarm in found:
        error = alarm.forecast_error()
        finite = [f for f in alarm.forecasts if math.isfinite(f.said)]
        if error is None:
            continue
        bias = sum(f.said - f.true for f in finite) / len(finite)
        never = len(alarm.forecasts) - len(finite)
        rows.append(
            (
                alarm.measure,
                f"{error[0]:.0f}",
                f"{error[1]:.0f}",
                f"{bias:+.0f}",
                str(error[2]),
                str(never),
            )
        )
    return StudyTable(
        "A forecast of the edits left",
        "|said - true| in edits at every measurement before the loss, on arms that the level "
        "was not fitted on; bias above 0 is too hopeful; never: no end foreseen.",
        ("measure", "median error", "90 % below", "bias", "forecasts", "never"),
        tuple(rows),
    )


def _estimate(found: ResampledEstimate | None, digits: int) -> str:
    if found is None:
        return "-"
    low, high = found.interval
    text = f"{found.value:+.{digits}f} [{low:+.{digits}f}, {high:+.{digits}f}]"
    return text if found.p is None else f"{text}, p {found.p:.3f}"


def _rate(count: int, total: int) -> str:
    if not total:
        return "-"
    low, high = wilson(count / total, total)
    return f"{count}/{total} [{low:.2f}, {high:.2f}]"


def _range(values: Sequence[float]) -> str:
    if not values:
        return "-"
    digits = 2 if max(values) <= 2 else 0
    return f"{min(values):.{digits}f} to {max(values):.{digits}f}"
