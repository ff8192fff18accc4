"""What a GGUF file says of its model, read from its head alone. No torch, and no weight is read.

The form: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. The `gguf` package reads every
token of the vocabulary as an array of its own, which takes seconds, and transformers' reader
imports torch; `revive check` has neither.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from revive.errors import SpecError

_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q"}
_NUMBERS[12] = "d"
_STRING, _ARRAY = 8, 9
_VERSIONS = (2, 3)


def read_metadata(file: Path) -> dict[str, Any]:
    """Everything that the head of a GGUF file says; of arrays the length alone.

    Also under `tensors`: the type number of every tensor, by name.

    Raises:
        SpecError: It is no GGUF file, or is cut off.
    """
    try:
        with file.open("rb") as head:
            return _read(head, file)
    except (OSError, struct.error, UnicodeDecodeError, KeyError) as error:
        raise SpecError(f"model.name: {file} is cut off, or no GGUF file ({error}).") from error


def _read(head: BinaryIO, file: Path) -> dict[str, Any]:
    if head.read(4) != b"GGUF":
        raise SpecError(f"model.name: {file} is no GGUF file; it does not begin as one.")
    version, tensors, count = _take(head, "IQQ")
    if version not in _VERSIONS:
        raise SpecError(f"model.name: {file} is of GGUF version {version}; known are 2 and 3.")
    found: dict[str, Any] = {}
    for _ in range(count):
        key = _string(head)
        (kind,) = _take(head, "I")
        found[key] = _value(head, kind)
    types: dict[str, int] = {}
    for _ in range(tensors):
        name = _string(head)
        (dimensions,) = _take(head, "I")
        *_, kind, _offset = _take(head, f"{dimensions}QIQ")
        types[name] = kind
    return {**found, "tensors": types}


def _value(head: BinaryIO, kind: int) -> Any:
    if kind == _STRING:
        return _string(head)
    if kind != _ARRAY:
        return _take(head, _NUMBERS[kind])[0]
    of, count = _take(head, "IQ")
    if of == _STRING:
        for _ in range(count):
            head.seek(_take(head, "Q")[0], 1)
    elif of == _ARRAY:
        for _ in range(count):
            _value(head, _ARRAY)
    else:
        head.seek(count * struct.calcsize(f"<{_NUMBERS[of]}"), 1)
    return count


def _take(head: BinaryIO, form: str) -> tuple[Any, ...]:
    return struct.unpack(f"<{form}", head.read(struct.calcsize(f"<{form}")))


def _string(head: BinaryIO) -> str:
    return head.read(_take(head, "Q")[0]).decode("utf-8")


@dataclass(frozen=True, slots=True)
class _Architecture:
    """What transformers makes of one of llama.cpp's architectures."""

    model_class: str
    model_type: str
    tied: bool = False


# Those that both transformers' reader of GGUF and a model family know.
_ARCHITECTURES: Mapping[str, _Architecture] = {
    "llama": _Architecture("LlamaForCausalLM", "llama"),
    "mistral": _Architecture("MistralForCausalLM", "mistral"),
    "qwen2": _Architecture("Qwen2ForCausalLM", "qwen2"),
    "qwen2moe": _Architecture("Qwen2MoeForCausalLM", "qwen2_moe"),
    "qwen3": _Architecture("Qwen3ForCausalLM", "qwen3"),
    "qwen3moe": _Architecture("Qwen3MoeForCausalLM", "qwen3_moe"),
    "falcon": _Architecture("FalconForCausalLM", "falcon", tied=True),
    "phi3": _Architecture("Phi3ForCausalLM", "phi3"),
    "bloom": _Architecture("BloomForCausalLM", "bloom", tied=True),
    "stablelm": _Architecture("StableLmForCausalLM", "stablelm"),
    "gpt2": _Architecture("GPT2LMHeadModel", "gpt2"),
    "starcoder2": _Architecture("Starcoder2ForCausalLM", "starcoder2"),
    "gemma2": _Architecture("Gemma2ForCausalLM", "gemma2"),
    "gemma3": _Architecture("Gemma3ForCausalLM", "gemma3_text"),
}

# https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, under "LLM".
_KEYS = {
    "embedding_length": "hidden_size",
    "block_count": "num_hidden_layers",
    "feed_forward_length": "intermediate_size",
    "context_length": "max_position_embeddings",
    "attention.head_count": "num_attention_heads",
    "attention.head_count_kv": "num_key_value_heads",
    "attention.key_length": "head_dim",
    "expert_count": "num_experts",
    "expert_used_count": "num_experts_per_tok",
    "expert_feed_forward_length": "moe_intermediate_size",
    "expert_shared_feed_forward_length": "shared_expert_intermediate_size",
}


def read_config(file: Path) -> dict[str, Any]:
    """The part of a `config.json` that settings and estimates depend on.

    Raises:
        SpecError: It is no GGUF file, or its architecture is not supported.
    """
    said = read_metadata(file)
    name = str(said.get("general.architecture", ""))
    known = _ARCHITECTURES.get(name)
    if known is None or (name == "llama" and said.get("llama.expert_count")):
        what = f"{name} with experts" if known else repr(name)
        raise SpecError(
            f"model: {file.name} is of architecture {what}, which cannot be read from GGUF; "
            f"supported are {', '.join(_ARCHITECTURES)}. Give the model's safetensors folder."
        )
    config = {ours: said[key] for tail, ours in _KEYS.items() if (key := f"{name}.{tail}") in said}
    vocabulary = said.get(f"{name}.vocab_size", said.get("tokenizer.ggml.tokens", 0))
    tied = known.tied or "output.weight" not in said["tensors"]
    return {
        "architectures": [known.model_class],
        "model_type": known.model_type,
        **config,
        "vocab_size": vocabulary,
        "tie_word_embeddings": tied,
    }
