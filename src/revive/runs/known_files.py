"""What a journal says of the files beside it: which count, and by which seal each is known."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_SUFFIX = ".safetensors"
_NUMBER = re.compile(r"[0-9]{6,12}")

Event = Mapping[str, Any]


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
                # Of an edit that was taken out: states hold it from its first batch on.
                first = step + 1 if "to" in event else event["batch"]
                checkpoints = {s: seal for s, seal in checkpoints.items() if s < first}
                updates = {s: seal for s, seal in updates.items() if s <= step}
                # Going back drops the table, taking an edit out does not.
                table = None if "to" in event else table
                outcomes = {at: seal for at, seal in outcomes.items() if at[0] <= step}
        return cls(run, updates, checkpoints, outcomes, table, largest)


def numbers_in(folder: Path) -> list[int]:
    """Batches that a folder has a file of, ascending."""
    names = (p.name.removesuffix(_SUFFIX) for p in folder.glob(f"*{_SUFFIX}"))
    return sorted(n for n in map(number_of, names) if n is not None)


def number_of(name: str) -> int | None:
    """The batch that a file's name says; None where it says none."""
    return int(name) if _NUMBER.fullmatch(name) else None
