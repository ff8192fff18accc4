"""Bloom: ALiBi, and a norm of the embeddings."""

from revive.models.family import Family

FAMILY = Family(
    name="bloom",
    architectures=("BloomForCausalLM",),
    base="transformer",
    blocks="h",
    mlp="mlp",
    mlp_out="mlp.dense_4h_to_h",
    transposed=False,
)
