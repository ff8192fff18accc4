"""Writes tiny models as GGUF files, as llama.cpp's converter would."""

from pathlib import Path

import gguf
import numpy as np
from transformers.modeling_gguf_pytorch_utils import (
    TENSOR_PROCESSORS,
    TensorProcessor,
    get_gguf_hf_weights_map,
)
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

ARCHITECTURES = {
    "llama": "llama",
    "qwen2": "qwen2",
    "qwen3": "qwen3",
    "gemma2": "gemma2",
    "gemma3_text": "gemma3",
    "phi3": "phi3",
    "gpt2": "gpt2",
    "starcoder2": "starcoder2",
    "stablelm": "stablelm",
    "falcon": "falcon",
    "bloom": "bloom",
}
"""llama.cpp's names, by `model_type`."""
MERGE = "1 9"


def write_gguf(model, tokenizer, path: Path, kind=None, pre="default", **more) -> Path:
    """Write a model; quantised to `kind` where a row is long enough, else whole.

    Args:
        model: Of transformers.
        tokenizer: Byte-level.
        path: The file.
        kind: Of `gguf.GGMLQuantizationType`.
        pre: Name of the pre-tokeniser.
        more: Metadata besides, by key.
    """
    config = model.config
    name = ARCHITECTURES[config.model_type]
    writer = gguf.GGUFWriter(path, name)
    writer.add_name("tiny")
    _shape(writer, config, name)
    _vocabulary(writer, tokenizer, pre)
    for key, value in more.items():
        writer.add_string(key, value)
    processor = TENSOR_PROCESSORS.get(name, TensorProcessor)(config=config.to_dict())
    names = {theirs: ours for ours, theirs in get_gguf_hf_weights_map(model, processor).items()}
    state = model.state_dict()
    tied = config.tie_word_embeddings
    for theirs, ours in names.items():
        if ours == "output.weight" and tied:
            continue
        value = _converted(state[theirs].float().numpy(), ours, config, name)
        if kind is not None and value.ndim == 2 and value.shape[1] % 32 == 0:
            writer.add_tensor(ours, gguf.quantize(value, kind), raw_dtype=kind)
        else:
            writer.add_tensor(ours, np.ascontiguousarray(value))
    if (getattr(config, "rope_parameters", None) or {}).get("rope_type") == "llama3":
        # llama.cpp's converter keeps what frequencies are divided by.
        inverse, _ = ROPE_INIT_FUNCTIONS["llama3"](config, "cpu")
        plain = 1 / config.rope_parameters["rope_theta"] ** (
            np.arange(0, 2 * len(inverse), 2) / (2 * len(inverse))
        )
        writer.add_tensor("rope_freqs.weight", (plain / inverse.numpy()).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _shape(writer, config, name):
    heads = config.num_attention_heads
    shared = getattr(config, "num_key_value_heads", None) or heads
    if config.model_type == "falcon":
        shared = heads if config.new_decoder_architecture or not config.multi_query else 1
    inner = getattr(config, "intermediate_size", None) or getattr(config, "n_inner", None)
    inner = inner or getattr(config, "ffn_hidden_size", None) or 4 * config.hidden_size
    writer.add_context_length(getattr(config, "max_position_embeddings", None) or 256)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(inner)
    writer.add_head_count(heads)
    writer.add_head_count_kv(shared)
    width = getattr(config, "head_dim", None) or config.hidden_size // heads
    rope = getattr(config, "rope_parameters", None) or {}
    if name in ("gemma2", "gemma3", "qwen3"):
        writer.add_key_length(width)
        writer.add_value_length(width)
    if name in ("llama", "qwen3"):
        writer.add_rope_dimension_count(width)
    if name == "stablelm":
        writer.add_rope_dimension_count(int(width * rope["partial_rotary_factor"]))
    if name == "phi3":
        writer.add_rope_dimension_count(width)
    if name.startswith("gemma"):
        writer.add_sliding_window(config.sliding_window)
    if name == "gemma2":
        writer.add_attn_logit_softcapping(config.attn_logit_softcapping)
        writer.add_final_logit_softcapping(config.final_logit_softcapping)
    scaled = rope.get("full_attention", rope)
    if scaled.get("rope_type") == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(scaled["factor"])
    theta = rope.get("rope_theta") or rope.get("full_attention", {}).get("rope_theta")
    if theta is not None:
        writer.add_rope_freq_base(theta)
    epsilon = getattr(config, "rms_norm_eps", None)
    if epsilon is not None:
        writer.add_layer_norm_rms_eps(epsilon)
    else:
        found = ("layer_norm_epsilon", "layer_norm_eps", "norm_epsilon")
        writer.add_layer_norm_eps(
            next(getattr(config, key) for key in found if hasattr(config, key))
        )


def _vocabulary(writer, tokenizer, pre):
    tokens = sorted(tokenizer.get_vocab().items(), key=lambda pair: pair[1])
    # Files without any merge are read as another kind; the last byte of the alphabet gives way.
    tokens[-1] = (MERGE.replace(" ", ""), tokens[-1][1])
    special = set(tokenizer.all_special_ids)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list([token for token, _ in tokens])
    writer.add_token_types([3 if i in special else 1 for _, i in tokens])
    writer.add_token_merges([MERGE])
    if tokenizer.bos_token_id is not None:
        writer.add_bos_token_id(tokenizer.bos_token_id)
    if tokenizer.eos_token_id is not None:
        writer.add_eos_token_id(tokenizer.eos_token_id)
        writer.add_pad_token_id(tokenizer.eos_token_id)


def _converted(value, ours, config, name):
    """What llama.cpp's `convert_hf_to_gguf.py` does to a weight."""
    heads = config.num_attention_heads
    if name == "llama" and (".attn_q." in ours or ".attn_k." in ours):
        count = heads if ".attn_q." in ours else config.num_key_value_heads
        split = value.reshape(count, 2, value.shape[0] // count // 2, *value.shape[1:])
        return split.swapaxes(1, 2).reshape(value.shape)
    if name.startswith("gemma") and ours.endswith("norm.weight"):
        return value + 1
    if name == "gpt2" and ours.endswith(
        ("attn_qkv.weight", "ffn_down.weight", "ffn_up.weight", "attn_output.weight")
    ):
        return value.T
    if name == "bloom" and "attn_qkv" in ours:
        split = value.reshape(heads, 3, config.hidden_size // heads, *value.shape[1:])
        return split.swapaxes(0, 1).reshape(value.shape)
    return value
