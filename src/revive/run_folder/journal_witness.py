"""The journal's witness: how long the journal was when its last line had reached the disk.

A kill can only leave a journal that is longer than its witness says. One that is shorter, or whose
line has other bytes, was changed from outside: without a witness a journal that lost its last lines
would look like one that a kill cut short, and a run's batches would be made again, or left out of a
model, without a word.

The witness is written after the line and is not flushed: it may be behind, never ahead. One that is
missing or torn says nothing.
"""

import json
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from revive.io.json_text import read_json
from revive.io.sealed import checksum, refuse_link


@dataclass(frozen=True)
class Witness:
    """What a journal must hold at least.

    Attributes:
        size: Bytes.
        sum: Of its last line, and so of all of them.
    """

    size: int
    sum: str


def witness_of(journal: Path) -> Path:
    """Where a journal's witness lies."""
    return journal.with_suffix(".head")


def read_witness(journal: Path) -> Witness | None:
    """What is known of a journal; None where nothing is.

    Raises:
        DamagedError: The witness is a symbolic link.
    """
    path = witness_of(journal)
    refuse_link(path)
    try:
        fields = cast("dict[str, Any]", read_json(path.read_bytes()))
        found = Witness(int(fields["size"]), str(fields["sum"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if fields.get("check") == _check(found) else None


def write_witness(journal: Path, witness: Witness) -> None:
    """Say how long a journal is. A disk that takes no more leaves the witness behind it."""
    fields = {"size": witness.size, "sum": witness.sum, "check": _check(witness)}
    # Of one length, so that nothing is left of what stood there.
    line = json.dumps(fields).ljust(127).encode("ascii") + b"\n"
    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    path = witness_of(journal)
    with suppress(OSError):
        descriptor = os.open(path, flags, 0o644)
        if os.fstat(descriptor).st_nlink > 1:
            # A copy by hard links keeps its own.
            os.close(descriptor)
            path.unlink()
            descriptor = os.open(path, flags, 0o644)
        try:
            os.pwrite(descriptor, line, 0)
            os.ftruncate(descriptor, len(line))
        finally:
            os.close(descriptor)


def _check(witness: Witness) -> str:
    return checksum(f"{witness.size} {witness.sum}".encode("ascii"))[:16]
