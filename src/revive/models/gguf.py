"""GGUF files as models: dequantised by transformers, then plain models like any other."""

from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

from tokenizers import pre_tokenizers
from transformers import AutoConfig, AutoTokenizer, modeling_gguf_pytorch_utils
from transformers.utils import logging

from revive.models.hollow import refuse_hollow
from revive.sources.gguf import read_head
from revive.sources.gguf_config import left_out
from revive.sources.gguf_config import read_config as described

# llama.cpp's names of pre-tokenisers that split every digit off before GPT-2's rule applies
# (src/llama-vocab.cpp); transformers knows only those that have a rule of their own.
_DIGITS = frozenset(
    {"smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b"}
)


@contextmanager
def as_loud_as_asked() -> Generator[None, None, None]:
    """Hide the bar of dequantising where transformers' bars are off: it does not listen itself."""
    if logging.is_progress_bar_enabled():
        yield
        return
    module: Any = modeling_gguf_pytorch_utils
    shown = module.tqdm
    module.tqdm = partial(shown, disable=True)
    try:
        yield
    finally:
        module.tqdm = shown


def make_plain(model: Any) -> None:
    """Forget that a model was quantised: its weights are not, once it is loaded.

    With these marks `save_pretrained` refuses, and a saved folder would be read as GGUF.
    """
    model.hf_quantizer = None
    model.is_quantized = False
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    # The name that whoever made the file had for it.
    model.config._name_or_path = ""


def read_config(file: Path) -> Any:
    """The config of a GGUF file as transformers takes it, with what its own reader leaves out."""
    # These tell better what is wrong with a file.
    found = left_out(file)
    tensors = read_head(file).tensors.values()
    refuse_hollow(file.name, described(file), sum(prod(t.shape) for t in tensors))
    config: Any = AutoConfig.from_pretrained(str(file.parent), gguf_file=file.name)
    rope = found.pop("rope")
    for key, value in found.items():
        if hasattr(config, key):
            setattr(config, key, value)
    said = getattr(config, "rope_parameters", None)
    if said is not None:
        # Gemma 3 turns by another rule where it looks back a little only.
        said.get("full_attention", said).update(rope)
    return config


def read_tokenizer(file: Path, **options: Any) -> Any:
    """The tokenizer of a GGUF file, splitting text as the model's own does."""
    tokenizer: Any = AutoTokenizer.from_pretrained(str(file.parent), gguf_file=file.name, **options)
    if read_head(file).said.get("tokenizer.ggml.pre") in _DIGITS:
        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Digits(individual_digits=True),
                pre_tokenizers.ByteLevel(add_prefix_space=False),
            ]
        )
    return tokenizer
