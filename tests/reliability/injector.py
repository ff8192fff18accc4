"""Faults at the points where a command touches its folders: in this process, at Python's own calls.

Every call that opens, writes, flushes, renames, makes, removes or truncates something below the
watched folders is a point. A fault is planned for one of them, by number.
"""

import builtins
import errno
import io
import mmap
import os
import random
import signal
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

KINDS = (
    "torn write and exit",
    "SIGKILL",
    "SIGKILL after",
    "SIGTERM",
    "SIGINT",
    "EIO",
    "ENOSPC from here on",
    "EROFS from here on",
    "MemoryError",
    "EIO, then SIGKILL",
    "SIGINT, then ENOSPC",
    "power cut",
    "power cut, some of it kept",
)
CALLS = (
    *("open", "write", "pwrite", "fsync", "replace", "rename", "unlink", "remove", "mkdir"),
    *("rmdir", "ftruncate", "chmod", "sendfile", "utime"),
)
_WRITES = frozenset({"write", "pwrite", "sendfile"})
_TAKES_SPACE = frozenset({*_WRITES, "mkdir", "new"})
_SHARED = struct.Struct("<qq")  # points so far, bytes of journal that were flushed

REAL = {name: getattr(os, name) for name in CALLS}
REAL_OPEN = io.open


@dataclass(frozen=True)
class Fault:
    """What goes wrong.

    Attributes:
        kind: One of `KINDS`.
        point: At which call, from 0.
        seed: For whatever is drawn.
    """

    kind: str
    point: int
    seed: int = 0


class Injector:
    """Counts points, and makes one fault happen."""

    def __init__(self, root: Path, fault: Fault | None, shared: mmap.mmap) -> None:
        self.root = str(root)
        self.fault = fault
        self.shared = shared
        self.count = 0
        self.power = None
        if fault is not None and fault.kind.startswith("power cut"):
            self.power = PowerCut(root, fault)

    def install(self) -> None:
        """From now on, until the process ends."""
        for name in CALLS:
            setattr(os, name, self._wrapped(name))
        io.open = builtins.open = self._open_file

    def _wrapped(self, name: str) -> Callable[..., Any]:
        real = REAL[name]

        def call(*args: Any, **keywords: Any) -> Any:
            path = self._watched(args, keywords)
            if path is None:
                return real(*args, **keywords)
            what = name
            if name == "open":
                makes = args[1] & os.O_CREAT and not os.path.exists(path)
                what = "new" if makes else "open"
            self._point(what, args)
            done = real(*args, **keywords)
            self._after(name, path, args)
            return done

        return call

    def _open_file(self, file: Any, mode: str = "r", *args: Any, **keywords: Any) -> Any:
        path = self._watched((file,), {})
        if path is None:
            return REAL_OPEN(file, mode, *args, **keywords)
        writes = any(c in mode for c in "wax+")
        self._point("new" if writes and not os.path.exists(path) else "open", ())
        opened = REAL_OPEN(file, mode, *args, **keywords)
        return _File(opened, self) if writes else opened

    def _watched(self, args: Sequence[Any], keywords: dict[str, Any]) -> str | None:
        for arg in args[:2]:
            if isinstance(arg, bool) or not isinstance(arg, int | str | bytes | os.PathLike):
                continue
            if isinstance(arg, int):
                try:
                    path = os.readlink(f"/proc/self/fd/{arg}")
                except OSError:
                    continue
            else:
                path = os.fsdecode(arg)
                if keywords.get("dir_fd") is not None:
                    path = os.path.join(os.readlink(f"/proc/self/fd/{keywords['dir_fd']}"), path)
                path = os.path.abspath(path)
            if path == self.root or path.startswith(self.root + "/"):
                return path
            if isinstance(arg, int):
                break  # the second argument of those is data or a length
        return None

    def _point(self, name: str, args: Sequence[Any]) -> None:
        """One more call; here a fault happens."""
        at, self.count = self.count, self.count + 1
        self._tell()
        fault = self.fault
        if fault is None or at < fault.point:
            return
        kind, here = fault.kind, at == fault.point
        if kind == "EIO, then SIGKILL":
            second = at >= fault.point + 1 + fault.seed % 4
            kind, here = ("SIGKILL", True) if second else ("EIO", here)
        elif kind == "SIGINT, then ENOSPC":
            kind, here = ("SIGINT", True) if here else ("ENOSPC from here on", False)
        if kind == "ENOSPC from here on" and name in _TAKES_SPACE:
            self._half(name, args)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if kind == "EROFS from here on" and name != "open" and name != "fsync":
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        if not here:
            return
        if kind == "EIO":
            self._half(name, args)
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        if kind == "MemoryError":
            raise MemoryError
        if kind == "torn write and exit":
            self._half(name, args)
            os._exit(137)
        if kind.startswith("power cut"):
            assert self.power is not None
            self._half(name, args)
            self.power.cut()
            os._exit(137)
        number = {"SIGKILL": signal.SIGKILL, "SIGTERM": signal.SIGTERM, "SIGINT": signal.SIGINT}
        if kind in number:
            os.kill(os.getpid(), number[kind])

    def _half(self, name: str, args: Sequence[Any]) -> None:
        if name in ("write", "pwrite") and args:
            data = memoryview(args[1]).cast("B")
            REAL[name](args[0], data[: len(data) // 2], *args[2:])

    def _after(self, name: str, path: str, args: Sequence[Any]) -> None:
        if name == "fsync":
            if path.endswith("/journal.jsonl"):
                self._tell(os.stat(path).st_size)
            if self.power is not None:
                self.power.flushed(args[0])
        fault = self.fault
        if fault and fault.kind == "SIGKILL after" and self.count - 1 == fault.point:
            os.kill(os.getpid(), signal.SIGKILL)

    def _tell(self, journal: int | None = None) -> None:
        known = _SHARED.unpack_from(self.shared)[1] if journal is None else journal
        _SHARED.pack_into(self.shared, 0, self.count, known)


def told(shared: mmap.mmap) -> tuple[int, int]:
    """Points that were met, and bytes of the journal that were flushed."""
    points, journal = _SHARED.unpack_from(shared)
    return points, journal


class _File:
    """A file of Python's whose writes are points."""

    def __init__(self, file: Any, injector: Injector) -> None:
        self._file, self._injector = file, injector

    def write(self, data: Any) -> Any:
        try:
            self._injector._point("write", ())
        except OSError:
            self._file.write(data[: len(data) // 2])
            raise
        return self._file.write(data)

    def __enter__(self) -> "_File":
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def __iter__(self) -> Any:
        return iter(self._file)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


class PowerCut:
    """What of a folder is on the disk: contents that were flushed, names whose folder was.

    A cut leaves nothing else (`power cut`), or of everything else some (`some of it kept`).
    """

    def __init__(self, root: Path, fault: Fault) -> None:
        self.root = root
        self.rng = random.Random(fault.seed) if "some" in fault.kind else None
        self.contents: dict[int, bytes] = {}
        self.names: dict[int, dict[str, int]] = {}
        self.folders: set[int] = set()
        self._held: list[int] = []
        for folder, _, _ in os.walk(root):
            descriptor = REAL["open"](folder, os.O_RDONLY)
            self.flushed(descriptor)
            for name in os.listdir(folder):
                path = os.path.join(folder, name)
                if os.path.isfile(path):
                    self.flushed(REAL["open"](path, os.O_RDONLY))

    def flushed(self, descriptor: int) -> None:
        """A file or folder has reached the disk."""
        # Held open, so that its number is not given to another file.
        self._held.append(os.dup(descriptor))
        stat = os.fstat(descriptor)
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        if os.path.isdir(path):
            self.folders.add(stat.st_ino)
            self.names[stat.st_ino] = _names(path)
        else:
            self.contents[stat.st_ino] = _content(path)

    def cut(self) -> None:
        """Leave beside the folder what a power cut leaves of it."""
        after = Path(f"{self.root}.after")
        current: dict[int, str] = {}
        for folder, _, names in os.walk(self.root):
            current[os.stat(folder).st_ino] = folder
            for name in names:
                path = os.path.join(folder, name)
                current[os.stat(path).st_ino] = path
        self._leave(os.stat(self.root).st_ino, after, current)

    def _leave(self, number: int, to: Path, current: dict[int, str]) -> None:
        REAL["mkdir"](to)
        now = _names(current[number]) if number in current else {}
        kept = dict(self.names.get(number, {}))
        if self.rng is not None:
            for name in {*now, *kept}:
                if self.rng.random() < 0.5:
                    kept.pop(name, None)
                    if name in now:
                        kept[name] = now[name]
        for name, inner in kept.items():
            path = current.get(inner)
            if inner in self.folders or (path is not None and os.path.isdir(path)):
                self._leave(inner, to / name, current)
                continue
            content = self.contents.get(inner, b"")
            if self.rng is not None and path is not None and self.rng.random() < 0.5:
                content = _content(path)
            with REAL_OPEN(to / name, "wb") as file:
                file.write(content)


def _names(folder: str) -> dict[str, int]:
    return {entry.name: entry.inode() for entry in os.scandir(folder)}


def _content(path: str) -> bytes:
    with REAL_OPEN(path, "rb") as file:
        return file.read()
