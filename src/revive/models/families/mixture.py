"""Mixtures of experts: Mixtral, Qwen2-MoE, Qwen3-MoE, OLMoE.

Only the second projections of routed experts are edited. The router, and Qwen2-MoE's shared
expert, stay as they are. Blocks that Qwen keeps dense (`mlp_only_layers`, `decoder_sparse_step`)
have an ordinary `down_proj`.
"""

from revive.models.experts import Experts, gated_hidden
from revive.models.family import Family

FAMILY = Family(
    name="mixture",
    architectures=(
        "MixtralForCausalLM",
        "Qwen2MoeForCausalLM",
        "Qwen3MoeForCausalLM",
        "OlmoeForCausalLM",
    ),
    base="model",
    blocks="layers",
    mlp="mlp",
    mlp_out="mlp.down_proj",
    transposed=False,
    experts=Experts("mlp.experts", "down_proj", gated_hidden),
)
