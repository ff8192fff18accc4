"""Save a model folder that `from_pretrained` loads."""

import shutil
import warnings
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from revive.errors import PrerequisiteError, SpecError
from revive.models.loading import LoadedModel
from revive.models.wrappers import adapters_merged
from revive.runs.atomic import is_disk_full

_SHARD = "4GB"


def save_model(
    loaded: LoadedModel, folder: Path, *, card: str | None = None, papers: Sequence[Path] = ()
) -> Path:
    """Save model, generation settings and tokenizer; see `appearing`.

    Args:
        loaded: The model.
        folder: Where to.
        card: A model card, if wanted.
        papers: Files to copy as they are: licences, notices.
    """
    with appearing(folder) as partial, warnings.catch_warnings():
        # It names a shard of 50 GB; one of these is in memory at a time.
        warnings.filterwarnings("ignore", "Attempting to save a model with offloaded modules")
        with adapters_merged(loaded.model) as state:
            loaded.model.save_pretrained(partial, state_dict=state, max_shard_size=_SHARD)
        for paper in papers:
            shutil.copyfile(paper, partial / paper.name)
        loaded.tokenizer.save_pretrained(partial)
        if card is not None:
            (partial / "README.md").write_text(card, encoding="utf-8")
    return folder


@contextmanager
def appearing(folder: Path) -> Generator[Path, None, None]:
    """A folder to write to, that takes its place as a whole or not at all.

    Raises:
        SpecError: It exists and is not empty.
        PrerequisiteError: The disk is full.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise SpecError(f"{folder} exists and is not empty; choose another folder.")
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        yield partial
        if folder.exists():
            folder.rmdir()
        partial.rename(folder)
    except (OSError, SafetensorError) as error:
        if is_disk_full(error):
            raise PrerequisiteError(
                f"{folder}: the disk is full; free some space and save again."
            ) from error
        raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
