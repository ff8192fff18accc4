"""One writer per run folder."""

import fcntl
import logging
import os
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from revive.errors import SpecError
from revive.runs.atomic import disk_full, is_disk_full

_LOG = logging.getLogger(__name__)


@contextmanager
def locked(path: Path) -> Generator[None, None, None]:
    """Hold a lock file, with this process's id in it.

    The kernel drops the lock when its holder dies, however it dies: a file that a dead process
    left behind is simply taken over.

    Raises:
        SpecError: Another process holds it.
        PrerequisiteError: The disk is full.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
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
        try:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        except OSError as error:
            if is_disk_full(error):
                raise disk_full(path.parent) from error
            raise
        yield
        # An empty file says that nobody left in a hurry; unlinking it would let two in.
        with suppress(OSError):
            os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def is_locked(path: Path) -> bool:
    """Whether a process, this one included, holds the lock."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
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
