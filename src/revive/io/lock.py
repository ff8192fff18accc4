"""One writer per run folder."""

import fcntl
import logging
import os
import stat
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from revive.errors import SpecError
from revive.io.atomic import disk_full, is_disk_full

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Lock:
    """A lock that is held.

    Attributes:
        path: Its file.
        descriptor: The file that was locked, whatever has the path now.
    """

    path: Path
    descriptor: int

    def check(self) -> None:
        """Refuse to write on if the file is no longer the one that was locked.

        Whoever comes next makes a new file, locks it, and believes to be alone.

        Raises:
            SpecError: It was deleted or replaced.
        """
        own = os.fstat(self.descriptor)
        try:
            now = os.lstat(self.path)
            gone = (now.st_dev, now.st_ino) != (own.st_dev, own.st_ino)
        except OSError:
            gone = True
        if gone:
            raise SpecError(
                f"{self.path}: was deleted or replaced while this process held it; another one may "
                "be writing, so this one stops. What it committed is kept; once nobody writes, "
                f"'revive resume {self.path.parent}' goes on."
            )


@contextmanager
def locked(path: Path) -> Generator[Lock, None, None]:
    """Hold a lock file, with this process's id in it.

    The kernel drops the lock when its holder dies, however it dies: a file that a dead process
    left behind is simply taken over.

    Raises:
        SpecError: Another process holds it, or it is no file of its own.
        PrerequisiteError: The disk is full.
    """
    descriptor = _open(path)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.read(descriptor, 32).decode("ascii", "replace").strip() or "unknown"
            raise SpecError(
                f"{path.parent}: process {holder} is writing this run; wait for it, or stop it."
            ) from error
        except OSError as error:
            # Some cluster file systems have no locks; a run must be possible there too.
            _LOG.warning("%s: this file system has no locks (%s)", path.parent, error.strerror)
        lock = Lock(path, descriptor)
        lock.check()
        alone = os.fstat(descriptor).st_nlink == 1
        try:
            # What a copy by hard links shares with this folder is not written to.
            if alone:
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        except OSError as error:
            if is_disk_full(error):
                raise disk_full(path.parent) from error
            raise
        yield lock
        # An empty file says that nobody left in a hurry; unlinking it would let two in.
        with suppress(OSError):
            if alone:
                os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def _open(path: Path) -> int:
    """Open a lock file, which is about to be emptied: never one that is somebody else's too."""
    with suppress(FileNotFoundError):
        if not stat.S_ISREG(os.lstat(path).st_mode):
            raise SpecError(
                f"{path}: is a link, or no file; delete it if nobody writes to this run."
            )
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    return os.open(path, flags, 0o644)


def is_locked(path: Path) -> bool:
    """Whether a process, this one included, holds the lock."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return False
