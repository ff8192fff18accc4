"""Where results that are constant for a model are kept between runs."""

import os
from pathlib import Path

from revive.paths import at_home


def cache_folder() -> Path:
    """`$XDG_CACHE_HOME/revive`, else `~/.cache/revive`. Safe to delete at any time."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (at_home(base) if base else Path.home() / ".cache") / "revive"
