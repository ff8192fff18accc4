"""What a journal says of the files beside it: which count, and by which seal each is known."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

_SUFFIX = ".safetensors"
_NUMBER = re.compile(r"[0-9]{6,12}")

Event = Mapping[str, Any]
_At = TypeVar("_At")


@dataclass(frozen=True)
class Known:
    """A run's files as its journal knows them.

    Attributes:
        run: The run's identity; empty where an older version began it.
        updates: By batch that stands, the seal of its update; None where none was kept.
        checkpoints: The same of the states that count, by batch. A state from before an edit was
            taken out does not count, whatever file of it is there.
        outcomes: By step and probe, of what was measured.
        table: Checksum of `edits.json` at the run's last end; None before one.
        largest: Number of the latest batch that was ever committed, taken back or not.
    """

    run: str
    updates: Mapping[int, str | None]
    checkpoints: Mapping[int, str | None]
    outcomes: Mapping[tuple[int, str], str]
    table: str | None
    largest: int

    @property
    def verifiable(self) -> bool:
        """Whether every update that stands has a seal."""
        return all(seal is not None for seal in self.updates.values())

    @classmethod
    def of(cls, events: Sequence[Event]) -> "Known":
        """Read a journal's events, in order, those that were undone included."""
        run, largest, table = "", 0, None
        updates: dict[int, str | None] = {}
        checkpoints: dict[int, str | None] = {}
        outcomes: dict[tuple[int, str], str] = {}
        for event in events:
            kind, step = event["event"], event["step"]
            if kind == "start":
                run = event.get("identity") or ""
            elif kind == "batch":
                updates[step] = event.get("update")
                largest = max(largest, step)
            elif kind == "checkpoint":
                checkpoints[step] = event.get("state")
            elif kind == "measure":
                kept = event.get("outcomes") or {}
                outcomes.update({(step, probe): seal for probe, seal in kept.items()})
            elif kind in ("finish", "alarm"):
                table = event.get("table")
            elif kind == "rollback":
                # Going back drops the table, taking an edit out does not. States hold such an edit
                # from its first batch on.
                back = "to" in event
                table = None if back else table
                _forget(checkpoints, lambda at: at, step if back else event["batch"] - 1)
                _forget(updates, lambda at: at, step)
                _forget(outcomes, lambda at: at[0], step)
        return cls(run, updates, checkpoints, outcomes, table, largest)


def _forget(files: dict[_At, Any], step_of: Callable[[_At], int], last: int) -> None:
    """Forget files of later batches than `last`; they came in the order of their batches."""
    while files and step_of(next(reversed(files))) > last:
        files.popitem()


def numbers_in(folder: Path) -> list[int]:
    """Batches that a folder has a file of, ascending."""
    names = (p.name.removesuffix(_SUFFIX) for p in folder.glob(f"*{_SUFFIX}"))
    return sorted(n for n in map(number_of, names) if n is not None)


def number_of(name: str) -> int | None:
    """The batch that a file's name says; None where it says none."""
    return int(name) if _NUMBER.fullmatch(name) else None
