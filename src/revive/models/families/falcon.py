"""Falcon: parallel attention and MLP, rotary positions or ALiBi."""

from revive.models.family import Family

FAMILY = Family(
    name="falcon",
    architectures=("FalconForCausalLM",),
    base="transformer",
    blocks="h",
    mlp="mlp",
    mlp_out="mlp.dense_4h_to_h",
    transposed=False,
)
