"""A GGUF file written out as a model folder, which then is a model like any other."""

import hashlib
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM
from transformers.utils import logging

from revive.io.cached_folders import kept, models_folder
from revive.io.digest_cache import DigestCache
from revive.models.gguf import as_loud_as_asked, make_plain, read_config, read_tokenizer
from revive.models.saving import appearing, save_to
from revive.progress import hushed, progress_on_stderr
from revive.sources.gguf import read_head
from revive.sources.gguf_config import file_type

_FORM = "safetensors-1"
"""How files are converted; another form is another folder."""


def convert(file: Path, folder: Path, card: str) -> Path:
    """Write a GGUF file out in float32, in which each of its values is exact.

    Args:
        file: The GGUF file.
        folder: Appears whole or not at all.
        card: Its README.

    Raises:
        SpecError: The file cannot be read as a model.
        PrerequisiteError: The disk is full.
    """
    with hushed(), as_loud_as_asked():
        config = read_config(file)
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            str(file.parent),
            config=config,
            gguf_file=file.name,
            dtype=torch.float32,
            output_loading_info=True,
        )
        model, report = loaded
        if report["missing_keys"]:
            raise ValueError(f"it lacks {sorted(report['missing_keys'])[0]}")
        make_plain(model)
        with appearing(folder) as partial:
            save_to(partial, model, read_tokenizer(file), card=card)
    return folder


def converted(file: Path) -> Path:
    """The folder of a GGUF file's model, in the cache; the first use makes it.

    Reading a file anew takes longer the larger its vocabulary is, half a minute for Gemma's, and
    what it gives cannot be left on the disk or quantised; a folder's model can.

    Raises:
        ValueError: The file cannot be read as a model; KeyError, RuntimeError and OSError likewise.
        PrerequisiteError: The disk is full.
    """

    def make(private: Path) -> Path:
        with progress_on_stderr(quiet=not logging.is_progress_bar_enabled()) as told:
            told(f"converting {file.name}, once", 0, 1)
            folder = convert(file, private / "made", _card(file))
            told(f"converting {file.name}, once", 1, 1)
        return folder

    return kept(converted_folder(file).name, make)


def converted_folder(file: Path) -> Path:
    """Where a file's model is kept, whether it is there yet or not."""
    digest = DigestCache(file).of(lambda: _content(file))
    name = hashlib.sha256(f"{_FORM} {digest}".encode()).hexdigest()
    return models_folder() / f"{file.stem}-{name[:12]}"


def _content(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _card(file: Path) -> str:
    licence = read_head(file).said.get("general.license")
    head = "" if licence is None else f"license: {licence}\n"
    return (
        f"---\n{head}library_name: transformers\npipeline_tag: text-generation\n---\n\n"
        f"# {file.stem}\n\nThe file `{file.name}` ({file_type(file)}), dequantised: its weights "
        "are those of the file, written out in float32.\n"
    )
