"""The journal: what happened to a run, one JSON object a line, only ever appended to.

A line is one write, flushed to disk before `append` returns: the line is the commit. A kill can
tear the last line only; a torn line never counted and is cut off by the next writer. Every line
ends in a checksum of the file up to and including itself, and the journal has a witness of its
length (`run_folder/journal_witness.py`): a line that was changed, lost or put in between is found
and named.
"""

import os
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast, get_args

import xxhash

from revive.errors import SpecError
from revive.io.atomic import disk_full, flush, is_disk_full, write_bytes
from revive.io.json_text import numbers, read_json, to_json
from revive.io.sealed import DamagedError, refuse_link
from revive.run_folder.journal_rules import wrong_fields, wrong_order
from revive.run_folder.journal_witness import Witness, read_witness, write_witness

SCHEMA = 1

Kind = Literal["start", "batch", "measure", "checkpoint", "resume", "rollback", "alarm", "finish"]
Event = dict[str, Any]

KINDS: tuple[Kind, ...] = get_args(Kind)

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
_SUM = re.compile(rb', "sum": "([0-9a-f]{32})"\}$')
_REMEDY = (
    "restore it from a copy, or go on from what is left with 'revive rollback RUN --to STEP'; "
    "'revive verify RUN' says from which batch."
)


@dataclass
class _State:
    """What the lines so far say, as far as the next one depends on it.

    Attributes:
        digest: Of their bytes.
        size: Their bytes.
        step: Number of the last batch that stands.
        began: Whether there is a line.
        summed: Whether one of them has a checksum; then all after it do.
        sum: That of the last line; empty where it has none.
    """

    digest: Any = field(default_factory=xxhash.xxh3_128)
    size: int = 0
    step: int = 0
    began: bool = False
    summed: bool = False
    sum: str = ""

    def sealed(self, text: str) -> tuple[bytes, str]:
        """A line with its checksum, and the checksum."""
        digest = self.digest.copy()
        digest.update(text.encode("utf-8"))
        found = digest.hexdigest()
        return f'{text[:-1]}, "sum": "{found}"}}\n'.encode(), found

    def wrong_sum(self, line: bytes) -> str:
        """What is wrong with a line's checksum; empty if nothing is."""
        found = _SUM.search(line)
        if found is None:
            return "has no checksum, and the lines before it have one" if self.summed else ""
        digest = self.digest.copy()
        digest.update(line[: found.start()] + b"}")
        fits = digest.hexdigest() == found[1].decode("ascii")
        return "" if fits else "its checksum does not fit"

    def take(self, line: bytes, event: Event) -> None:
        """Go on behind a line, given without its line break."""
        found = _SUM.search(line)
        self.digest.update(line + b"\n")
        self.size += len(line) + 1
        self.step = _committed(self.step, event)
        self.began = True
        self.summed |= found is not None
        self.sum = "" if found is None else found[1].decode("ascii")


class Journal:
    """A run's journal, open for appending."""

    def __init__(self, path: Path, events: Sequence[Event], torn: int) -> None:
        """Use `open`."""
        self.path = path
        self.torn_bytes = torn
        self._events = list(events)
        # Kept up with every line, so that a batch costs the same after any number of others.
        self._state = _State()
        for event in self._events:
            self._state.step = _committed(self._state.step, event)
        self._listeners: list[Callable[[Event], None]] = []
        self._allowed: Callable[[], None] = lambda: None

    @classmethod
    def open(cls, path: Path, allowed: Callable[[], None] | None = None) -> "Journal":
        """Open for appending; a torn last line is cut off. Only for whoever holds the run's lock.

        Args:
            path: The file.
            allowed: Asked before every line; raises if this process may write no more.

        Raises:
            DamagedError: A line is damaged, or lines are missing.
            SpecError: A newer version wrote it.
        """
        content = _content(path)
        events, state = _whole(content, path, read_witness(path))
        torn = len(content) - state.size
        if torn:
            descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW)
            try:
                os.ftruncate(descriptor, state.size)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        if path.exists() and path.stat().st_nlink > 1:
            # A copy by hard links would grow with it.
            write_bytes(path, content[: state.size])
        journal = cls(path, events, torn)
        journal._state = state
        journal._allowed = allowed or journal._allowed
        return journal

    @staticmethod
    def read(path: Path) -> list[Event]:
        """The events, without touching the file; a torn last line is left out.

        Raises:
            DamagedError: A line is damaged, or lines are missing.
            SpecError: A newer version wrote it.
        """
        # First: a writer may be at work, and the journal must be the younger of the two.
        witness = read_witness(path)
        return _whole(_content(path), path, witness)[0]

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
        return self._state.step

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
            SpecError: Somebody else has written to the run; the journal is as they left it.
        """
        event = {"event": kind, "time": time.time(), "step": step, "schema": SCHEMA, **fields}
        text = to_json(event)
        read_back = _event(text.encode("utf-8"))
        if isinstance(read_back, str):
            raise TypeError(f"journal: {kind} {read_back}")
        misplaced = wrong_order(read_back, self._state.step, began=self._state.began)
        if misplaced:
            raise ValueError(f"journal: {kind} {step} {misplaced}")
        self._allowed()
        line, found = self._state.sealed(text)
        self._write(line)
        self._events.append(read_back)
        self._state.take(line[:-1], read_back)
        write_witness(self.path, Witness(self._state.size, found))
        for listener in self._listeners:
            listener(read_back)
        return read_back

    def _write(self, line: bytes) -> None:
        first = not self.path.exists()
        if first and self._state.began:
            raise SpecError(f"{self.path}: is gone; nothing more is written to this run.")
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
        descriptor = os.open(self.path, flags, 0o644)
        try:
            size = os.fstat(descriptor).st_size
            if size != self._state.size:
                raise SpecError(
                    f"{self.path}: another process has written to it; this one stops, and has "
                    "committed nothing since. 'revive status' says where the run stands."
                )
            try:
                if os.write(descriptor, line) != len(line):
                    raise OSError(28, os.strerror(28))
                os.fsync(descriptor)
                if first:
                    flush(self.path.parent)
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
        self._state = _State()
        self._lines = 0

    def new(self) -> list[Event]:
        """Events since the last call; a line that is not whole yet is left for the next.

        Raises:
            SpecError: A whole line is damaged, or a newer version wrote it.
        """
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            file.seek(self._state.size)
            content = file.read()
        events = _parsed(content, self._path, self._lines, self._state)
        self._lines += len(events)
        return events


@dataclass(frozen=True)
class Remains:
    """What is left of a damaged journal.

    Attributes:
        events: Of the whole lines before the damage.
        content: Those lines.
        sum: Checksum of the last of them; empty where it has none.
        damage: What is wrong; None if nothing is.
    """

    events: list[Event]
    content: bytes
    sum: str
    damage: DamagedError | None


def remains(path: Path) -> Remains:
    """The whole lines of a journal that may be damaged.

    Raises:
        SpecError: A newer version wrote it.
    """
    witness, content, state = read_witness(path), _content(path), _State()
    events: list[Event] = []
    damage = None
    try:
        _parsed(content, path, 0, state, witness, into=events)
        _check_witness(content, path, witness, state)
    except DamagedError as error:
        damage = error
    return Remains(events, content[: state.size], state.sum, damage)


def _committed(step: int, event: Event) -> int:
    """Number of batches that stand after an event, from that before it."""
    if event["event"] == "batch":
        return event["step"]
    return min(step, event["step"]) if event["event"] == "rollback" else step


def _content(path: Path) -> bytes:
    refuse_link(path)
    return path.read_bytes() if path.exists() else b""


def _whole(content: bytes, path: Path, witness: Witness | None) -> tuple[list[Event], _State]:
    """All events, and what they say."""
    state = _State()
    events = _parsed(content, path, 0, state, witness)
    _check_witness(content, path, witness, state)
    return events, state


def _check_witness(content: bytes, path: Path, witness: Witness | None, state: _State) -> None:
    """Refuse a journal that holds less than it did."""
    if witness is None or state.size > witness.size:
        return
    if state.size == witness.size and state.sum == witness.sum:
        return
    if state.size == witness.size:
        what = "is another one than was written"
    elif not content:
        what = f"is {'empty' if path.exists() else 'missing'}, and had {witness.size:,} bytes"
    else:
        what = f"has {state.size:,} bytes of whole lines, and had {witness.size:,}"
    raise DamagedError(path, f"{what}: lines of it were lost", _REMEDY)


def _parsed(
    content: bytes,
    path: Path,
    before: int,
    state: _State,
    witness: Witness | None = None,
    into: list[Event] | None = None,
) -> list[Event]:
    """Events of the lines after the first `before`; `state` is moved behind those that are whole.

    Args:
        content: Bytes behind those that `state` knows.
        path: For messages.
        before: Lines that `state` knows.
        state: What is known of them.
        witness: What the journal must hold at least.
        into: Where events go, for those who want what comes before a damage.
    """
    lines = content.split(b"\n")
    events: list[Event] = [] if into is None else into
    for number, line in enumerate(lines[:-1], start=before + 1):
        found = _event(line)
        # Blocks that were allocated but never written show as a garbled last line.
        last = number == before + len(lines) - 1 and not lines[-1]
        known = witness is not None and state.size < witness.size
        if found == _NOT_JSON and last and not known:
            break
        if not isinstance(found, str) and found["schema"] > SCHEMA:
            raise SpecError(
                f"{path}, line {number}: made by a newer revive (journal schema "
                f"{found['schema']}, this one reads {SCHEMA}); upgrade with "
                "'pip install -U revive-edit'."
            )
        what = found if isinstance(found, str) else state.wrong_sum(line)
        if not what and not isinstance(found, str):
            what = wrong_order(found, state.step, began=state.began)
        if isinstance(found, str) or what:
            what = f"{what}; the journal was changed from outside"
            raise DamagedError(path, what, _REMEDY, f", line {number}")
        events.append(found)
        state.take(line, found)
    return events


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
    wrong = wrong_fields(event)
    if wrong:
        return wrong
    if event["step"] < 0:
        return "has a negative step"
    return {k: numbers(v) if k in _NUMERIC else v for k, v in event.items() if k != "sum"}
