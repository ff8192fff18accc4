"""The journal: what happened to a run, one JSON object a line, only ever appended to.

A line is one write, flushed to disk before `append` returns: the line is the commit. A kill can
tear the last line only; a torn line never counted and is cut off by the next writer.
"""

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, cast, get_args

from revive.errors import SpecError
from revive.runs.atomic import disk_full, is_disk_full
from revive.runs.json_text import numbers, read_json, to_json

SCHEMA = 1

Kind = Literal["start", "batch", "measure", "checkpoint", "resume", "rollback", "alarm", "finish"]
Event = dict[str, Any]

KINDS: tuple[Kind, ...] = get_args(Kind)

_NEEDED: dict[str, tuple[tuple[str, type], ...]] = {
    "batch": (("edits", list), ("sites", dict)),
    "measure": (("edits", int), ("metrics", dict)),
}
# Below these keys every text is the name of a number; elsewhere "NaN" may be somebody's subject.
_NUMERIC = (
    "metrics",
    "notes",
    "seconds",
    "sites",
    "retention",
    "calibration",
    "values",
    "intervals",
)


class Journal:
    """A run's journal, open for appending."""

    def __init__(self, path: Path, events: Sequence[Event], torn: int) -> None:
        """Use `open`."""
        self.path = path
        self.torn_bytes = torn
        self._events = list(events)
        # Kept up with every line, so that a batch costs the same after any number of others.
        self._step = 0
        for event in self._events:
            self._step = _committed(self._step, event)
        self._listeners: list[Callable[[Event], None]] = []

    @classmethod
    def open(cls, path: Path) -> "Journal":
        """Open for appending; a torn last line is cut off. Only for whoever holds the run's lock.

        Raises:
            SpecError: A line other than the last is damaged, or a newer version wrote it.
        """
        events, size = _parse(path)
        torn = path.stat().st_size - size if path.exists() else 0
        if torn:
            descriptor = os.open(path, os.O_WRONLY)
            try:
                os.ftruncate(descriptor, size)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        return cls(path, events, torn)

    @staticmethod
    def read(path: Path) -> list[Event]:
        """The events, without touching the file; a torn last line is left out.

        Raises:
            SpecError: A line other than the last is damaged, or a newer version wrote it.
        """
        return _parse(path)[0]

    @property
    def note(self) -> str | None:
        """What a user should know about how the file was found."""
        if not self.torn_bytes:
            return None
        return f"{self.path}: cut off a last line that was torn by a kill ({self.torn_bytes} bytes)"

    def events(self) -> list[Event]:
        """All events, in order."""
        return list(self._events)

    def committed_step(self) -> int:
        """Number of the last batch that stands; 0 before the first."""
        return self._step

    def listen(self, listener: Callable[[Event], None]) -> None:
        """Have somebody called with every event from now on, once it is on the disk."""
        self._listeners.append(listener)

    def append(self, kind: Kind, step: int, **fields: Any) -> Event:
        """Write one event to the disk.

        Args:
            kind: What happened.
            step: Committed batches, this one included.
            fields: The rest; plain data, in which numbers need not be finite.

        Returns:
            The event, as it will be read back.

        Raises:
            PrerequisiteError: The disk is full; the journal is as before.
        """
        event = {"event": kind, "time": time.time(), "step": step, "schema": SCHEMA, **fields}
        line = to_json(event)
        read_back = _event(line.encode("utf-8"))
        if isinstance(read_back, str):
            raise TypeError(f"journal: {kind} {read_back}")
        if kind == "batch" and step != self._step + 1:
            raise ValueError(f"journal: batch {step} after {self._step}")
        self._write(line.encode("utf-8") + b"\n")
        self._events.append(read_back)
        self._step = _committed(self._step, read_back)
        for listener in self._listeners:
            listener(read_back)
        return read_back

    def _write(self, line: bytes) -> None:
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            size = os.fstat(descriptor).st_size
            try:
                if os.write(descriptor, line) != len(line):
                    raise OSError(28, os.strerror(28))
                os.fsync(descriptor)
            except OSError as error:
                os.ftruncate(descriptor, size)
                if is_disk_full(error):
                    raise disk_full(self.path) from error
                raise
        finally:
            os.close(descriptor)


class JournalReader:
    """Reads a journal that another process may be writing: each call, only what is new."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._size = 0
        self._lines = 0

    def new(self) -> list[Event]:
        """Events since the last call; a line that is not whole yet is left for the next.

        Raises:
            SpecError: A whole line is damaged, or a newer version wrote it.
        """
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            file.seek(self._size)
            content = file.read()
        events, read = _parsed(content, self._path, self._lines)
        self._size += read
        self._lines += len(events)
        return events


def _committed(step: int, event: Event) -> int:
    """Number of batches that stand after an event, from that before it."""
    if event["event"] == "batch":
        return event["step"]
    return min(step, event["step"]) if event["event"] == "rollback" else step


def _parse(path: Path) -> tuple[list[Event], int]:
    """Events, and the size of the file up to the end of the last whole line."""
    return _parsed(path.read_bytes() if path.exists() else b"", path, 0)


def _parsed(content: bytes, path: Path, before: int) -> tuple[list[Event], int]:
    """Events of the lines after the first `before`, and the bytes of those that are whole."""
    lines = content.split(b"\n")
    events: list[Event] = []
    size = 0
    for number, line in enumerate(lines[:-1], start=before + 1):
        found = _event(line)
        if isinstance(found, str):
            # Blocks that were allocated but never written show as a garbled last line.
            if found == _NOT_JSON and number == before + len(lines) - 1 and not lines[-1]:
                break
            raise SpecError(
                f"{path}, line {number}: {found}; the journal was changed from outside. Restore "
                "it from a copy, or begin a new run."
            )
        if found["schema"] > SCHEMA:
            raise SpecError(
                f"{path}, line {number}: made by a newer revive (journal schema "
                f"{found['schema']}, this one reads {SCHEMA}); upgrade with "
                "'pip install -U revive-edit'."
            )
        events.append(found)
        size += len(line) + 1
    return events, size


_NOT_JSON = "is not JSON"


def _event(line: bytes) -> Event | str:
    """One line as an event, or what is wrong with it."""
    try:
        value: object = read_json(line)
    except ValueError:
        return _NOT_JSON
    if not isinstance(value, dict):
        return "is not an object"
    event = cast("Event", value)
    for key, kinds in (("event", str), ("step", int), ("schema", int), ("time", int | float)):
        if not isinstance(event.get(key), kinds) or isinstance(event[key], bool):
            return f"has no {key!r}"
    if event["schema"] > SCHEMA:
        return event
    if event["event"] not in KINDS:
        return f"is an unknown event {event['event']!r}"
    for key, kind in _NEEDED.get(event["event"], ()):
        if not isinstance(event.get(key), kind):
            return f"has no {key!r}"
    if event["step"] < 0:
        return "has a negative step"
    return {k: numbers(v) if k in _NUMERIC else v for k, v in event.items()}
