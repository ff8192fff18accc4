"""Paths as users write them."""

import os
import stat
from pathlib import Path

from revive.errors import SpecError


def at_home(path: str | Path) -> Path:
    """A path with `~` and `~user` at its beginning made whole; one of nobody known stays as it is.

    A shell leaves them in `--out=~/edited`, in a spec, and in quotes.

    Raises:
        SpecError: It holds a NUL, which no path does.
    """
    if "\0" in str(path):
        raise SpecError(f"{str(path)!r}: holds a NUL character, which no path does.")
    return Path(os.path.expanduser(path))


def refuse_special(path: Path) -> None:
    """Refuse what is neither a file nor a folder: it may never end, or never begin.

    Raises:
        SpecError: It is a pipe, a device or a socket.
    """
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return  # whoever opens it is told better
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise SpecError(
            f"{path}: is a pipe or a device, not a file; write what it gives to a file and name "
            "that one (a run reads it again when it is resumed)."
        )


def read_text(path: str | Path, where: str) -> str:
    """The text of a file that a user names, in UTF-8.

    Args:
        path: The file.
        where: The setting that names it, for messages.

    Raises:
        SpecError: It cannot be read, or is no text.
    """
    file = at_home(path)
    refuse_special(file)
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise SpecError(f"{where}: {path} is not UTF-8 text; save the file as UTF-8.") from error
    except OSError as error:
        raise SpecError(f"{where}: cannot read {path}: {error.strerror}.") from error


def refuse_taken(folder: Path, where: str = "") -> None:
    """Refuse a place that no finished folder can take, before any work is done.

    Args:
        folder: The place.
        where: The option that names it, for messages; empty where none does.

    Raises:
        SpecError: Something is there, or it is where the user is.
    """
    named = f"{where}: {folder}" if where else str(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise SpecError(f"{named} exists and is not empty; choose another folder.")
    if Path.cwd().is_relative_to(folder.resolve()):
        raise SpecError(
            f"{named} is the folder that you are in, or above it, and a finished folder "
            "cannot take its place; name a new one."
        )
