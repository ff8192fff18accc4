"""Files that are there whole or not at all."""

import errno
import os
import shutil
import stat
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from revive.errors import PrerequisiteError

_MARK = ".partial"
_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@contextmanager
def replacing(path: Path) -> Generator[Path, None, None]:
    """A path beside `path` to write to; takes its place once written and flushed to disk.

    A failure leaves `path` as it was and nothing beside it. A kill may leave the partial file,
    which `remove_partials` clears.

    Raises:
        PrerequisiteError: The disk is full.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}{_MARK}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.touch()
        mode = partial.stat().st_mode  # what the umask asks for; safetensors hides its files
        yield partial
        partial.chmod(stat.S_IMODE(mode))
        _flush(partial)
        partial.replace(path)
        _flush(path.parent)
    except BaseException as error:
        with suppress(OSError):
            partial.unlink()
        if is_disk_full(error):
            raise disk_full(path) from error
        raise


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file as a whole.

    Raises:
        PrerequisiteError: The disk is full.
    """
    with replacing(path) as partial:
        partial.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 file as a whole.

    Raises:
        PrerequisiteError: The disk is full.
    """
    write_bytes(path, text.encode("utf-8"))


def remove_partials(folder: Path) -> None:
    """Clear what a killed process left half written. Only for whoever holds the folder's lock."""
    for partial in folder.glob(f".*{_MARK}"):
        partial.unlink(missing_ok=True)


def is_partial(path: Path) -> bool:
    """Whether a killed process left this file half written."""
    return path.name.startswith(".") and path.name.endswith(_MARK)


def is_disk_full(error: BaseException) -> bool:
    """Whether a failure, in whatever library's clothes, means that no space is left."""
    if isinstance(error, shutil.Error):
        # What went wrong with each file of a tree, as text.
        return any(os.strerror(code) in str(error) for code in _NO_SPACE)
    if isinstance(error, OSError):
        # Where no file can be written, tempfile finds no folder to its liking.
        return error.errno in _NO_SPACE or "No usable temporary directory" in str(error)
    return any(f"os error {code}" in str(error) for code in _NO_SPACE)


def disk_full(path: Path) -> PrerequisiteError:
    """What to tell a user whose disk is full."""
    return PrerequisiteError(
        f"{path}: no space left on the disk, or a limit on file sizes (ulimit -f). Make some; what "
        "is recorded so far is intact, and 'revive resume' goes on from there."
    )


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
