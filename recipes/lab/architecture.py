"""Shapes of the lab models."""

from typing import Literal

from transformers import LlamaConfig

Size = Literal["tiny", "base", "large"]

# hidden size, layers, heads, key-value heads, feed-forward size
_SHAPES: dict[Size, tuple[int, int, int, int, int]] = {
    "tiny": (64, 2, 4, 2, 128),  # to try a recipe out
    "base": (512, 8, 8, 4, 1024),  # 22 M parameters: ships with the package
    "large": (1024, 12, 16, 8, 2048),  # 120 M parameters, not shipped
}


def config(size: Size, vocabulary: int, bos: int, end: int) -> LlamaConfig:
    """Llama configuration with tied embeddings."""
    hidden, layers, heads, groups, inner = _SHAPES[size]
    return LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=groups,
        intermediate_size=inner,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        bos_token_id=bos,
        eos_token_id=end,
        pad_token_id=end,
    )
