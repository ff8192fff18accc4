"""Paths as users write them."""

import os
from pathlib import Path


def at_home(path: str | Path) -> Path:
    """A path with `~` and `~user` at its beginning made whole; one of nobody known stays as it is.

    A shell leaves them in `--out=~/edited`, in a spec, and in quotes.
    """
    return Path(os.path.expanduser(path))
