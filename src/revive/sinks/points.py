"""The journal's events as numbers over the stream of edits. No torch."""

from collections.abc import Mapping, Sequence
from typing import Any

from revive.run_folder.summary import standing
from revive.sinks.base import Point


class Points:
    """Turns events into points, one after another.

    It counts edits itself: a batch event says how many it made, not how many came before.
    """

    def __init__(self) -> None:
        self._index = 0
        self._edits = {0: 0}

    def point(self, event: Mapping[str, Any], *, stands: bool = True) -> Point:
        """The next event's point."""
        step = event["step"]
        if event["event"] == "batch":
            self._edits[step] = self._edits.get(step - 1, 0) + len(event["edits"])
        made = Point(self._index, self._edits.get(step, 0), values(event), event, stands)
        self._index += 1
        return made

    def past(self, events: Sequence[Mapping[str, Any]]) -> list[Point]:
        """The points of everything so far; which of it stands is known then."""
        kept = {id(event) for event in standing(events)}
        return [self.point(event, stands=id(event) in kept) for event in events]


def values(event: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of one event, by name.

    `measure/*`: the metrics. `batch/failed`, `batch/seconds/*` by phase. `batch/asked` and
    `batch/applied`: Frobenius norms over all sites; `batch/leak`: the largest of any site;
    `batch/removed`: share of the energy asked that the guard took, in the protected blocks.
    `alarm/value`: what raised it.
    """
    kind = event["event"]
    if kind == "measure":
        return {f"measure/{name}": float(value) for name, value in event["metrics"].items()}
    if kind == "alarm":
        return {"alarm/value": float(event["values"]["value"])}
    if kind != "batch":
        return {}
    sites = list(event["sites"].values())
    asked = sum(float(s["asked"]) ** 2 for s in sites)
    taken = sum(float(s["asked"]) ** 2 * sum(map(float, s["removed"].values())) for s in sites)
    found = {
        "batch/failed": float(len(event["failed"])),
        "batch/asked": asked**0.5,
        "batch/applied": sum(float(s["applied"]) ** 2 for s in sites) ** 0.5,
        "batch/leak": max((float(s["leak"]) for s in sites), default=0.0),
        "batch/removed": taken / asked if asked else 0.0,
    }
    for phase, seconds in event["seconds"].items():
        found[f"batch/seconds/{phase}"] = float(seconds)
    return found
