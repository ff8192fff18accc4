"""Save a model folder that `from_pretrained` loads."""

import shutil
import stat
import warnings
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from revive.errors import PrerequisiteError
from revive.io.atomic import folder_beside, is_disk_full
from revive.models.loading import LoadedModel
from revive.models.stored_dtype import recast, saved_dtype
from revive.models.wrappers import adapters_merged
from revive.paths import refuse_taken

_SHARD = "4GB"


def save_model(
    loaded: LoadedModel,
    folder: Path,
    *,
    dtype: torch.dtype | None = None,
    card: str | None = None,
    papers: Sequence[Path] = (),
) -> Path:
    """Save model, generation settings and tokenizer; see `appearing`.

    Args:
        loaded: The model.
        folder: Where to.
        dtype: Of the saved weights; the base's if None, as `saved_dtype` says.
        card: A model card, if wanted.
        papers: Files to copy as they are: licences, notices.
    """
    with appearing(folder) as partial, warnings.catch_warnings():
        # It names a shard of 50 GB; one of these is in memory at a time.
        warnings.filterwarnings("ignore", "Attempting to save a model with offloaded modules")
        save_to(partial, loaded.model, loaded.tokenizer, card=card)
        held = loaded.model.dtype
        wanted = saved_dtype(None, loaded.stored, held) if dtype is None else dtype
        if wanted != held:
            recast(partial, wanted)
        for paper in papers:
            shutil.copyfile(paper, partial / paper.name)
    return folder


def save_to(folder: Path, model: Any, tokenizer: Any, *, card: str | None) -> None:
    """Save model, tokenizer and card into a folder that is there."""
    with adapters_merged(model) as state:
        model.save_pretrained(folder, state_dict=state, max_shard_size=_SHARD)
    tokenizer.save_pretrained(folder)
    if card is not None:
        (folder / "README.md").write_text(card, encoding="utf-8")


@contextmanager
def appearing(folder: Path) -> Generator[Path, None, None]:
    """A folder to write to, that takes its place as a whole or not at all.

    It and its files have the modes that the umask asks for, whoever wrote or copied them.

    Raises:
        SpecError: It exists and is not empty.
        PrerequisiteError: The disk is full.
    """
    refuse_taken(folder)
    try:
        with folder_beside(folder) as partial:
            mode = partial.stat().st_mode
            yield partial
            _open_up(partial, mode)
            if folder.exists():
                folder.rmdir()
            partial.rename(folder)
    except (OSError, SafetensorError) as error:
        if is_disk_full(error):
            raise PrerequisiteError(
                f"{folder}: the disk is full; free some space and save again."
            ) from error
        raise


def _open_up(folder: Path, mode: int) -> None:
    """Give everything the modes of a folder that was just made; safetensors hides its files."""
    folder.chmod(stat.S_IMODE(mode))
    for path in folder.rglob("*"):
        if not path.is_symlink():
            path.chmod(stat.S_IMODE(mode) & (0o777 if path.is_dir() else 0o666))
