"""Phi 1 and 2: parallel attention and MLP, partly rotary, a head with bias."""

from revive.models.family import Family

FAMILY = Family(
    name="phi",
    architectures=("PhiForCausalLM",),
    base="model",
    blocks="layers",
    mlp="mlp",
    mlp_out="mlp.fc2",
    transposed=False,
)
