"""Save a model folder that `from_pretrained` loads."""

import shutil
from pathlib import Path

from safetensors import SafetensorError

from revive.errors import PrerequisiteError, SpecError
from revive.models.loading import LoadedModel
from revive.runs.atomic import is_disk_full


def save_model(loaded: LoadedModel, folder: Path) -> Path:
    """Save model and tokenizer; the folder appears whole or not at all.

    Raises:
        SpecError: The folder exists and is not empty.
        PrerequisiteError: The disk is full.
    """
    if folder.exists() and any(folder.iterdir()):
        raise SpecError(f"{folder} exists and is not empty; choose another folder.")
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        loaded.model.save_pretrained(partial)
        loaded.tokenizer.save_pretrained(partial)
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
    return folder
