"""The config of a GGUF file's model, from the file's head. No torch.

transformers makes a config of its own from the head, and leaves out some of what it says; what a
model computes depends on it, so it is set here.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from revive.errors import SpecError
from revive.sources.gguf import Head, read_floats, read_head


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
_NEEDED = ("embedding_length", "block_count", "attention.head_count")
"""Where a file does not say one, transformers takes that of another model."""


# https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, general.file_type.
_FILE_TYPES = {
    **{0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K"},
    **{11: "Q3_K_S", 12: "Q3_K_M", 13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S"},
    **{17: "Q5_K_M", 18: "Q6_K", 32: "BF16"},
}
_SCALED = ("rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight")


def read_config(file: Path) -> dict[str, Any]:
    """The part of a `config.json` that settings and estimates depend on.

    Raises:
        SpecError: It is no GGUF file, does not say a size, or its architecture is not supported.
    """
    head = read_head(file)
    name = head.architecture
    known = _ARCHITECTURES.get(name)
    if known is None or (name == "llama" and head.get("expert_count")):
        what = f"{name} with experts" if known else repr(name)
        raise SpecError(
            f"model: {file.name} is of architecture {what}, which cannot be read from GGUF; "
            f"supported are {', '.join(_ARCHITECTURES)}. Give the model's safetensors folder."
        )
    for key in _NEEDED:
        if not head.count(key):
            raise SpecError(
                f"model: {file.name} does not say {key}; it is damaged, or no language model."
            )
    sizes = {ours: head.count(key) for key, ours in _KEYS.items()}
    config = {ours: size for ours, size in sizes.items() if size is not None}
    return {
        "architectures": [known.model_class],
        "model_type": known.model_type,
        **config,
        "vocab_size": head.count("vocab_size") or head.said.get("tokenizer.ggml.tokens", 0),
        "tie_word_embeddings": known.tied or "output.weight" not in head.tensors,
    }


def file_type(file: Path) -> str:
    """What the weights were rounded to, e.g. `GGUF Q4_K_M`."""
    kind = read_head(file).said.get("general.file_type")
    known = _FILE_TYPES.get(kind) if isinstance(kind, int) else None
    return f"GGUF {known or 'of mixed types'}"


def left_out(file: Path) -> dict[str, Any]:
    """What transformers' own config of a file lacks, by the names of its attributes.

    Under `rope`: what rotary positions are computed with.

    Raises:
        SpecError: A size that it needs is missing or none; or positions are scaled in a way that
            is not known here: the model would compute other numbers than it was trained to.
    """
    head = read_head(file)
    config = read_config(file)
    hidden, heads = config["hidden_size"], config["num_attention_heads"]
    width = head.count("attention.key_length") or hidden // heads
    found: dict[str, Any] = {
        "head_dim": head.count("attention.key_length"),
        "attn_logit_softcapping": head.number("attn_logit_softcapping"),
        "final_logit_softcapping": head.number("final_logit_softcapping"),
        "n_inner": head.count("feed_forward_length"),
        "ffn_hidden_size": head.count("feed_forward_length"),
        "n_positions": head.count("context_length"),
        "layer_norm_epsilon": head.number("attention.layer_norm_epsilon"),
        "query_pre_attn_scalar": _attention_scale(head, hidden // heads),
        "rope": _rope(file, head, width),
    }
    return {key: value for key, value in found.items() if value is not None}


def _attention_scale(head: Head, width: int) -> int | None:
    # The file does not say it: llama.cpp goes by the number of blocks, too (27B of both).
    blocks = {"gemma2": 46, "gemma3": 62}.get(head.architecture)
    return width if blocks is not None and head.get("block_count") == blocks else None


def _rope(file: Path, head: Head, width: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    base, turned = head.number("rope.freq_base"), head.count("rope.dimension_count")
    if base is not None:
        found["rope_theta"] = base
    if turned is not None and turned != width and head.architecture in ("stablelm", "phi3"):
        found["partial_rotary_factor"] = turned / width
    scaling = head.get("rope.scaling.type")
    if scaling == "linear":
        found |= {"rope_type": "linear", "factor": head.number("rope.scaling.factor")}
    elif scaling == "yarn":
        first = head.count("rope.scaling.original_context_length")
        found |= {"rope_type": "yarn", "factor": head.number("rope.scaling.factor")}
        found["original_max_position_embeddings"] = first
    scaled = [name for name in _SCALED if name in head.tensors]
    if scaled == [_SCALED[0]] and base is not None:
        found |= _llama3(read_floats(file, head.tensors[_SCALED[0]]), base)
    elif scaled:
        raise SpecError(
            f"model: {file.name} scales its positions ({scaled[0]}) in a way that cannot be read "
            "from GGUF; give the model's safetensors folder."
        )
    return found


def _llama3(factors: tuple[float, ...], base: float) -> dict[str, Any]:
    """The settings of Llama 3.1's rule that these divisors of frequencies come from.

    transformers' `modeling_rope_utils` has the rule; its bounds are those of all Llama 3 models.
    """
    said = {"factor": max(factors, default=0.0), "low_freq_factor": 1.0, "high_freq_factor": 4.0}
    first = 8192
    fits = all(0 < factor < math.inf for factor in factors) and said["factor"] > 0
    for factor, step in zip(factors if fits else (), range(len(factors)), strict=False):
        turns = first / (2 * math.pi * base ** (step / len(factors)))
        smooth = min(max((turns - 1.0) / 3.0, 0.0), 1.0)
        expected = 1 / ((1 - smooth) / said["factor"] + smooth)
        fits &= abs(expected / factor - 1) <= 1e-3
    if not fits:
        raise SpecError(
            "model: its positions are scaled by a rule that cannot be read from GGUF; give the "
            "model's safetensors folder."
        )
    return {"rope_type": "llama3", **said, "original_max_position_embeddings": first}
