"""Files that are there whole or not at all."""

import errno
import os
import re
import secrets
import shutil
import socket
import stat
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from revive.errors import PrerequisiteError

# Of a file: its name, a process and something drawn (older versions drew nothing). Of a folder: the
# host and a process on it.
_FILE = re.compile(r"\..+\.\d+(-[0-9a-f]{8})?\.partial", re.DOTALL)
# What older versions had safetensors write before it renamed, where nothing but tensors lies.
_LIBRARY = re.compile(r"\.tmp[A-Za-z0-9]{6}")
_LIBRARY_FOLDERS = ("updates", "checkpoints")
_FOLDER = re.compile(r"\.revive-(?P<host>.*)-(?P<process>\d+)-[0-9a-f]{8}\.partial", re.DOTALL)
_NUMBER = re.compile(r"\(os error (\d+)\)|\[Errno (\d+)\]")
_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@contextmanager
def replacing(path: Path) -> Generator[Path, None, None]:
    """A path beside `path` to write to; takes its place once written and flushed to disk.

    A failure leaves `path` as it was and nothing beside it. A kill may leave the partial file,
    which `remove_partials` clears.

    Raises:
        PrerequisiteError: The disk is full.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.partial")
    try:
        make_folder(path.parent)
        partial.touch()
        mode = partial.stat().st_mode  # what the umask asks for; safetensors hides its files
        yield partial
        partial.chmod(stat.S_IMODE(mode))
        flush(partial)
        partial.replace(path)
        flush(path.parent)
    except BaseException as error:
        with suppress(OSError):
            partial.unlink()
        if is_disk_full(error):
            raise disk_full(path) from error
        raise


def make_folder(path: Path) -> None:
    """Make a folder, and those that it is in, so that they outlive a power cut."""
    if path.is_dir():
        return
    make_folder(path.parent)
    path.mkdir(exist_ok=True)
    flush(path.parent)


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


@contextmanager
def folder_beside(path: Path) -> Generator[Path, None, None]:
    """A new folder beside `path` under a name that nobody else has; removed with the block.

    So are those of processes of this host that were killed. Nothing else is ever removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(".revive-*.partial"):
        found = _FOLDER.fullmatch(left.name)
        if found and found["host"] == _host() and not _lives(int(found["process"])):
            shutil.rmtree(left, ignore_errors=True)
    name = f".revive-{_host()}-{os.getpid()}-{secrets.token_hex(4)}.partial"
    partial = path.with_name(name)
    partial.mkdir()
    try:
        yield partial
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def remove_partials(folder: Path) -> None:
    """Clear what a killed process left half written. Only for whoever holds the folder's lock."""
    for partial in folder.glob(".*"):
        if is_partial(partial):
            partial.unlink(missing_ok=True)


def remove_abandoned(folder: Path) -> None:
    """Clear what killed processes left half written in a folder that has no lock."""
    for partial in folder.glob(".*.partial"):
        process = partial.name.split(".")[-2].partition("-")[0]
        if is_partial(partial) and not _lives(int(process)):
            partial.unlink(missing_ok=True)


def is_partial(path: Path) -> bool:
    """Whether this is a file that a killed process of ours left half written."""
    if path.is_symlink() or not path.is_file():
        return False
    library = path.parent.name in _LIBRARY_FOLDERS and _LIBRARY.fullmatch(path.name)
    return bool(library or _FILE.fullmatch(path.name))


def is_disk_full(error: BaseException) -> bool:
    """Whether a failure, in whatever library's clothes, means that no space is left."""
    if isinstance(error, shutil.Error):
        # What went wrong with each file of a tree, as text.
        return any(os.strerror(code) in str(error) for code in _NO_SPACE)
    if isinstance(error, OSError):
        # Where no file can be written, tempfile finds no folder to its liking.
        return error.errno in _NO_SPACE or "No usable temporary directory" in str(error)
    return any(f"os error {code}" in str(error) for code in _NO_SPACE)


def error_number(error: BaseException) -> int | None:
    """The operating system's number of a failure, in whatever library's clothes; None for others.

    Libraries in Rust (safetensors, tokenizers) and `shutil.copytree` tell it in their text alone.
    """
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    found = _NUMBER.search(str(error))
    return None if found is None else int(found[1] or found[2])


def disk_full(path: Path) -> PrerequisiteError:
    """What to tell a user whose disk is full."""
    return PrerequisiteError(
        f"{path}: no space left on the disk, or a limit on file sizes (ulimit -f). Make some; what "
        "is recorded so far is intact, and 'revive resume' goes on from there."
    )


def flush(path: Path) -> None:
    """Have what was written to a file, or which files a folder holds, reach the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _host() -> str:
    return re.sub(r"\W", "_", socket.gethostname())[:60]


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True
