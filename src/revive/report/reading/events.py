"""The events of a journal that stand: a torn last line and what was rolled back are left out."""

from pathlib import Path
from typing import Any

from revive.run_folder.journal import Journal
from revive.run_folder.summary import standing

Event = dict[str, Any]


def read_events(path: Path) -> list[Event]:
    """Read the events that stand, in order.

    Args:
        path: `journal.jsonl` of a run, which may still be written to.

    Raises:
        SpecError: A line other than the last is damaged.
    """
    return [dict(event) for event in standing(Journal.read(path))]


def rolled_back(events: list[Event]) -> bool:
    """Whether batches were undone after the last end, so that the summary is of another state."""
    kinds = [e["event"] for e in events if e["event"] == "finish" or "to" in e]
    return kinds[-1:] == ["rollback"]
