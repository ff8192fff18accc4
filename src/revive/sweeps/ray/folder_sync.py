"""A run folder that comes from another disk, in an order that a resume can rely on. No torch.

The journal's line is the commit, and the file that it speaks of is older than it. So a copy takes
the journal first and hands it over last; whenever the copying stops, what has arrived is a run
folder that was interrupted.
"""

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from revive.io.atomic import is_partial, write_bytes

_LATE = ("journal.jsonl", "journal.head", "summary.json")
"""Handed over last, in this order. The witness is read first: it is never ahead of the journal."""
_LOCK = ".lock"
_AT_A_TIME = 64 * 2**20
"""Bytes after which a parcel is closed; a larger file travels alone."""


@dataclass(frozen=True)
class SyncChunk:
    """Some of the files that have changed.

    Attributes:
        files: Content by relative path, in the order in which it must be written.
        names: All files that are there; None while more is to come.
    """

    files: Mapping[str, bytes] = field(default_factory=dict[str, bytes])
    names: frozenset[str] | None = None


class Sender:
    """Sends a folder's files, each when it has changed."""

    def __init__(self, folder: Path) -> None:
        """Everything in `folder` is news, until it was sent."""
        self._folder = folder
        self._sent: dict[str, tuple[int, int]] = {}

    def sent(self) -> None:
        """What is there now has come from the other end."""
        self._sent = {name: _stamp(self._folder / name) for name in _names(self._folder)}

    def parcel(self) -> SyncChunk:
        """Something of what has changed since it was sent."""
        late = self._late()
        files: dict[str, bytes] = {}
        size = 0
        names = list(_names(self._folder))
        for name in names:
            if name in _LATE:
                continue
            try:
                stamp = _stamp(self._folder / name)
                if self._sent.get(name) == stamp:
                    continue
                if size >= _AT_A_TIME:
                    return SyncChunk(files)
                files[name] = (self._folder / name).read_bytes()
            except FileNotFoundError:
                continue  # an old checkpoint, dropped just now
            size += len(files[name])
            self._sent[name] = stamp
        for name, content in late.items():
            stamp = (len(content), zlib.crc32(content))
            if self._sent.get(name) != stamp:
                files[name] = content
                self._sent[name] = stamp
        return SyncChunk(files, frozenset(names))

    def _late(self) -> dict[str, bytes]:
        read: dict[str, bytes] = {}
        for name in ("journal.head", *_LATE):
            if name not in read and (self._folder / name).is_file():
                read[name] = (self._folder / name).read_bytes()
        return {name: read[name] for name in _LATE if name in read}


def receive(folder: Path, parcel: SyncChunk) -> None:
    """Write what a parcel holds, and forget files that are gone at its origin."""
    for name, content in parcel.files.items():
        write_bytes(folder / name, content)
    for name in _names(folder) if parcel.names is not None else ():
        if name not in (parcel.names or ()):
            (folder / name).unlink(missing_ok=True)
    if folder.is_dir():
        (folder / _LOCK).touch()


def _names(folder: Path) -> Iterator[str]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != _LOCK and not is_partial(path):
            yield path.relative_to(folder).as_posix()


def _stamp(path: Path) -> tuple[int, int]:
    if path.name in _LATE:
        content = path.read_bytes()
        return len(content), zlib.crc32(content)
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns
