"""The llama-like group: gated MLP with a `down_proj`, pre-norm, rotary positions."""

from revive.models.family import Family

FAMILY = Family(
    name="llama",
    architectures=(
        "LlamaForCausalLM",
        "MistralForCausalLM",
        "Qwen2ForCausalLM",
        "Qwen3ForCausalLM",
    ),
    base="model",
    blocks="layers",
    mlp="mlp",
    mlp_out="mlp.down_proj",
    transposed=False,
)
