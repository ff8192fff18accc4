"""The collapse alarm: one metric, one level, a decision after every measurement. No torch.

The rule: the alarm is raised at the first measurement that is the last of `patience` in a row at
which the metric lies beyond the level. A value that is not a number lies beyond any level: weights
or losses that overflowed are what an alarm is for. It is raised once a run; one that a rollback has
undone may be raised again.

The forecast: through the last measurements a power law, log m = a + b log n, is laid by least
squares, and the count n at which it reaches the level is what is left of the capacity.

`recipes/drift.py` prints how often the rule is right, and how far off the forecast, on runs that
the level was not fitted on.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from revive.errors import SpecError
from revive.registry import did_you_mean
from revive.run_folder.summary import standing
from revive.spec.schema import AlarmSpec

_WINDOW = 4
_FARTHEST = 1e9


@dataclass(frozen=True)
class Raised:
    """An alarm.

    Attributes:
        step: The measurement's batch.
        edits: Edits by then.
        value: The metric's value, over the unedited model's if the spec says so.
    """

    step: int
    edits: int
    value: float


def crossed(values: Sequence[float], level: float, *, above: bool, patience: int = 1) -> int | None:
    """Index of the measurement at which the alarm is raised, None if never.

    Args:
        values: The metric, in order.
        level: Beyond which is too far; the level itself is not.
        above: Whether beyond is above.
        patience: Measurements in a row that must lie beyond.
    """
    row = 0
    for index, value in enumerate(values):
        beyond = math.isnan(value) or (value > level if above else value < level)
        row = row + 1 if beyond else 0
        if row >= patience:
            return index
    return None


def remaining(edits: Sequence[int], values: Sequence[float], level: float) -> float | None:
    """Edits until a metric reaches a level, by the power law through its last measurements.

    Args:
        edits: Edits at each measurement, ascending; those before the first edit are left out.
        values: The metric.
        level: Where the capacity ends; positive.

    Returns:
        Infinity if the metric does not move towards the level, None where there are fewer than two
        measurements, or the last ones are not positive.
    """
    points = [(n, v) for n, v in zip(edits, values, strict=True) if n > 0][-_WINDOW:]
    if len(points) < 2 or level <= 0 or any(not math.isfinite(v) or v <= 0 for _, v in points):
        return None
    xs, ys = [math.log(n) for n, _ in points], [math.log(v) for _, v in points]
    middle, mean = sum(xs) / len(xs), sum(ys) / len(ys)
    slope = sum((x - middle) * (y - mean) for x, y in zip(xs, ys, strict=True))
    slope /= sum((x - middle) ** 2 for x in xs)
    gap = math.log(level) - ys[-1]
    if gap * slope <= 0:
        return math.inf  # stands still, or moves away
    power = xs[-1] + gap / slope
    if power > math.log(_FARTHEST):
        return math.inf
    return math.exp(power) - points[-1][0]


class AlarmWatch:
    """The alarm of a run that goes on: a measurement costs the same after any number of others."""

    def __init__(self, alarm: AlarmSpec, events: Sequence[Mapping[str, Any]]) -> None:
        """Take in a journal.

        Args:
            alarm: What is watched.
            events: Everything that has happened so far.
        """
        self._alarm = alarm
        self._before = math.nan
        self._points: dict[int, Raised] = {}
        self._told = False
        for event in standing(events):
            self.take(event)

    def take(self, event: Mapping[str, Any]) -> None:
        """Take in one more event, of the last step or a later one."""
        self._told |= event["event"] == "alarm"
        alarm = self._alarm
        if event["event"] != "measure" or alarm.metric not in event["metrics"]:
            return
        value = float(event["metrics"][alarm.metric])
        if event["step"] == 0:
            self._before = value
            return
        value = value / self._before if alarm.relative else value
        # Taken out and put in again: where a step was measured twice, the later one counts.
        self._points.pop(event["step"], None)
        self._points[event["step"]] = Raised(event["step"], event["edits"], value)

    def raised(self) -> Raised | None:
        """The alarm that is called for now; None if there is none, or it was raised before."""
        alarm = self._alarm
        if self._told:
            return None
        last = list(islice(reversed(self._points.values()), alarm.patience))[::-1]
        above = alarm.above is not None
        values = [p.value for p in last]
        found = crossed(values, alarm.level, above=above, patience=alarm.patience)
        return None if found is None else last[-1]

    def points(self) -> list[Raised]:
        """The metric at every measurement after an edit, in order."""
        return list(self._points.values())


def edits_left(alarm: AlarmSpec, events: Sequence[Mapping[str, Any]]) -> float | None:
    """The forecast: edits until the metric reaches the alarm's level, None where there is none."""
    points = AlarmWatch(alarm, events).points()
    values = [p.value for p in points]
    if crossed(values, alarm.level, above=alarm.above is not None) is not None:
        return 0.0
    return remaining([p.edits for p in points], values, alarm.level)


def check_metric(alarm: AlarmSpec, events: Sequence[Mapping[str, Any]]) -> None:
    """Refuse an alarm that can never be raised, once the unedited model is measured.

    Raises:
        SpecError: No probe of the run measures the metric, or it is relative to 0.
    """
    known: dict[str, float] = {}
    for event in events:
        if event["event"] == "measure" and event["step"] == 0:
            known.update(event["metrics"])
    if alarm.metric not in known:
        raise SpecError(
            f"alarm.metric: no probe of this run measures {alarm.metric!r}; measured are "
            f"{', '.join(sorted(known))}.{did_you_mean(alarm.metric, known)}"
        )
    if alarm.relative and float(known[alarm.metric]) == 0.0:
        raise SpecError(
            f"alarm.relative: {alarm.metric} of the unedited model is 0; give an absolute level."
        )


def stopped_by_alarm(events: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The alarm that a run stopped at and was not resumed from."""
    last = events[-1] if events else None
    return last if last is not None and last["event"] == "alarm" and last["stop"] else None


def told(event: Mapping[str, Any]) -> str:
    """An alarm event as a sentence."""
    value, level = float(event["values"]["value"]), float(event["values"]["level"])
    over = " times the unedited model's" if event["relative"] else ""
    what = "the run stops here and can be resumed" if event["stop"] else "the run goes on"
    return (
        f"alarm after {event['edits']} edits: {event['metric']} is {value:.3g}{over}, the level is "
        f"{level:.3g}; {what}."
    )
