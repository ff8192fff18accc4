"""A GGUF file written out as a model folder."""

from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from revive.models.gguf import as_loud_as_asked, make_plain, read_tokenizer
from revive.models.saving import appearing, save_to
from revive.progress import hushed


def convert(file: Path, folder: Path, card: str) -> Path:
    """Write a GGUF file out in float32, in which each of its values is exact.

    Args:
        file: The GGUF file.
        folder: Appears whole or not at all.
        card: Its README.
    """
    with hushed(), as_loud_as_asked():
        model: Any = AutoModelForCausalLM.from_pretrained(
            str(file.parent), gguf_file=file.name, dtype=torch.float32
        )
        make_plain(model)
        with appearing(folder) as partial:
            save_to(partial, model, read_tokenizer(file), card=card)
    return folder
