"""Model folders in the cache: each is made once, whole or not at all."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from revive.errors import PrerequisiteError
from revive.io.atomic import flush, is_disk_full
from revive.io.cache import cache_folder

_PARTIAL = ".partial-"


def models_folder() -> Path:
    """Where model folders are kept."""
    return cache_folder() / "models"


def kept(name: str, make: Callable[[Path], Path]) -> Path:
    """A folder of `models_folder`, made if it is not there.

    Another process that makes the same one is waited for. What a killed process left is removed.

    Args:
        name: Of the folder; other contents are to have another name.
        make: Makes it somewhere in the private folder that it is given, and says where.

    Raises:
        PrerequisiteError: The disk is full, or the cache cannot be written to.
    """
    folder = models_folder() / name
    if folder.is_dir():
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _alone(folder.with_name(f".{name}.lock")):
            if not folder.is_dir():
                _make(folder, make)
    except OSError as error:
        why = "the disk is full" if is_disk_full(error) else f"it cannot be kept there ({error})"
        raise PrerequisiteError(
            f"model: {folder}: {why}. It takes up to four bytes a parameter, twice that while it "
            "is made; XDG_CACHE_HOME moves the cache elsewhere."
        ) from error
    return folder


def _make(folder: Path, make: Callable[[Path], Path]) -> None:
    prefix = f"{_PARTIAL}{folder.name}-"
    for left in folder.parent.glob(f"{prefix}*"):
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=prefix, dir=folder.parent) as private:
        made = make(Path(private))
        for path in made.iterdir():
            flush(path)
        try:
            made.rename(folder)
        except OSError:
            if not folder.is_dir():  # where there are no locks, another may have been faster
                raise


@contextmanager
def _alone(path: Path) -> Generator[None, None, None]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        with suppress(OSError):  # a file system without locks: the rename decides
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
