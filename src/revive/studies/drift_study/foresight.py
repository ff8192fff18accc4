"""How well a level on one measure foresees the loss of general ability. No torch.

The rule and the forecast are the run's own (`runs.alarm`). For every group of runs the level is
fitted on all other groups and judged on that one, so that no run has a part in its own level. A
group is an arm: to foresee the collapse of an editor, guard and lambda never seen is what a user
asks of an alarm.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from revive.runs.alarm import crossed, remaining
from revive.studies.drift_study.levels import Case, Outcome, cases, fit, judge
from revive.studies.drift_study.traces import Trace


@dataclass(frozen=True)
class Forecast:
    """What a forecast said at one measurement: edits left, and edits that really were."""

    said: float
    true: float


@dataclass(frozen=True)
class Foresight:
    """An alarm on one measure, judged on groups that it was not fitted on.

    Attributes:
        measure: Its name.
        above: Whether the level is exceeded upwards.
        level: Fitted on all runs: what a user would set.
        levels: Smallest and largest level over the groups left out.
        outcomes: Of every run, in the order of the cases.
        groups: Their groups.
        lost: How many of them lost ability.
        lead: Edits between alarm and loss, of the alarms in time.
        forecasts: At every measurement before the loss, of all runs that lost ability.
    """

    measure: str
    above: bool
    level: float
    levels: tuple[float, float]
    outcomes: tuple[Outcome, ...]
    groups: tuple[str, ...]
    lost: int
    lead: tuple[float, ...]
    forecasts: tuple[Forecast, ...]

    @property
    def missed(self) -> tuple[int, int]:
        """Missed, of the runs that lost ability."""
        return self.outcomes.count("missed"), self.lost

    @property
    def false(self) -> tuple[int, int]:
        """False alarms, of all runs."""
        return self.outcomes.count("false"), len(self.outcomes)

    def forecast_error(self) -> tuple[float, float, int] | None:
        """Median and 90th percentile of |said - true| edits, and the number of forecasts."""
        errors = [abs(f.said - f.true) for f in self.forecasts if math.isfinite(f.said)]
        if not errors:
            return None
        return median(errors), float(np.quantile(errors, 0.9)), len(errors)


def foresight(traces: Sequence[Trace], measure: str, horizon: int) -> Foresight | None:
    """Fit and judge an alarm, group by group; None without two groups or without any loss."""
    runs = cases(traces, measure)
    groups = sorted({run.group for run in runs})
    if len(groups) < 2 or not any(run.lost is not None for run in runs):
        return None
    above, level = fit(runs, horizon)
    found: dict[int, tuple[Outcome, float | None]] = {}
    forecasts: list[Forecast] = []
    levels: list[float] = []
    for group in groups:
        rest = [run for run in runs if run.group != group]
        if not any(run.lost is not None for run in rest):
            return None
        up, fitted = fit(rest, horizon)
        levels.append(fitted)
        at_loss = loss_level(rest)
        for index, run in enumerate(runs):
            if run.group == group:
                found[index] = judge(run, fitted, horizon, above=up)
                forecasts += forecast(run, at_loss, above=up)
    judged = [found[i] for i in range(len(runs))]
    return Foresight(
        measure=measure,
        above=above,
        level=level,
        levels=(min(levels), max(levels)),
        outcomes=tuple(outcome for outcome, _ in judged),
        groups=tuple(run.group for run in runs),
        lost=sum(run.lost is not None for run in runs),
        lead=tuple(lead for _, lead in judged if lead is not None),
        forecasts=tuple(forecasts),
    )


def loss_level(runs: Sequence[Case]) -> float:
    """The measure at the loss of ability, median over runs, between measurements in logarithms."""
    found: list[float] = []
    for run in runs:
        usable = [(n, v) for n, v in zip(run.edits, run.values, strict=True) if v > 0]
        if run.lost is not None and usable:
            xs, ys = [math.log(n) for n, _ in usable], [math.log(v) for _, v in usable]
            found.append(float(np.interp(math.log(max(run.lost, 1.0)), xs, ys)))
    return math.exp(median(found)) if found else math.nan


def forecast(run: Case, level: float, *, above: bool) -> list[Forecast]:
    """At every measurement before the loss: edits left by the forecast, and in truth."""
    if run.lost is None:
        return []
    said: list[Forecast] = []
    for i, n in enumerate(run.edits):
        past = crossed(run.values[: i + 1], level, above=above) is not None
        left = 0.0 if past else remaining(run.edits[: i + 1], run.values[: i + 1], level)
        if n >= run.lost or left is None:
            continue
        said.append(Forecast(left, run.lost - n))
    return said
