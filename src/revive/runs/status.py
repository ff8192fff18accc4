"""Where a run stands, from its folder alone."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from revive.run_folder.journal import Journal
from revive.run_folder.store import RunFolder
from revive.run_folder.summary import NO_METRICS, standing, summarise
from revive.runs.alarm import edits_left, stopped_by_alarm, told
from revive.spec.parsing import load_stored_spec

_AT_REST = {"finish": "finished", "rollback": "rolled back"}
"""What a run is whose last event that was."""


@dataclass(frozen=True)
class Status:
    """State of a run.

    Attributes:
        state: `finished`, `running`, `stopped` (by its alarm), `rolled back` (and not gone on),
            `interrupted` or `not started`.
        step: Committed batches.
        edits_made: Edits in committed batches.
        edits_total: Length of the stream.
        failed: Edits that could not be made.
        removed: Edits that were taken out again, one by one.
        seconds: Work so far.
        answers: How many edits stand, were asked at the run's end, and took; None before it.
        measured_at: Edits at the latest measurement.
        metrics: The latest measurement.
        edits_left: Forecast of the edits until the alarm's level is reached, where there is one;
            infinite where the metric does not move towards it.
        advice: What to do next.
    """

    state: str
    step: int
    edits_made: int
    edits_total: int
    failed: int
    removed: int
    seconds: float
    answers: Mapping[str, int] | None
    measured_at: int
    metrics: Mapping[str, float]
    edits_left: float | None
    advice: str

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def run_status(folder: Path) -> Status:
    """Read a run's state.

    Raises:
        SpecError: Not a run folder, or from a newer version.
    """
    run = RunFolder.open(folder)
    spec = load_stored_spec(run.spec)
    events = Journal.read(run.journal)
    summary = summarise(spec, folder.name, events)
    total = next((e["edits"] for e in events if e["event"] == "start"), 0)
    last = events[-1] if events else {"event": ""}
    state = "running" if run.locked() else _AT_REST.get(last["event"], "interrupted")
    alarm = stopped_by_alarm(standing(events))
    if alarm is not None and state == "interrupted":
        state = "stopped"
    if not events and state != "running":
        state = "not started"
    rows = summary["curve"]
    metrics = {k: v for k, v in (rows[-1] if rows else {}).items() if k not in NO_METRICS}
    heard = "" if alarm is None else told(alarm)
    advice = {
        "finished": f"finished; 'revive report {folder}' makes a page.",
        "running": "a process is working on it.",
        "stopped": f"{heard} 'revive resume {folder}' goes on all the same.",
        "rolled back": _undone(last, folder),
        "interrupted": f"interrupted; 'revive resume {folder}' continues.",
        "not started": f"nothing committed yet; 'revive resume {folder}' begins.",
    }[state]
    return Status(
        state=state,
        step=summary["batches"],
        edits_made=summary["edits"],
        edits_total=total,
        failed=summary["failed"],
        removed=summary["removed"],
        seconds=summary["seconds"]["total"],
        answers=summary.get("answers"),
        measured_at=rows[-1]["edits"] if rows else 0,
        metrics=metrics,
        edits_left=None if spec.alarm is None else edits_left(spec.alarm, events),
        advice=advice,
    )


def _undone(event: Mapping[str, Any], folder: Path) -> str:
    if event.get("edit"):
        return f"edit {event['edit']} was taken out; 'revive resume {folder}' measures without it."
    return f"rolled back; 'revive resume {folder}' makes what was undone again."
