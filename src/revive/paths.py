"""Paths as users write them."""

import os
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
