"""GPT-2: Conv1D projections, which store their weight `[in, out]`."""

from revive.models.family import Family

FAMILY = Family(
    name="gpt2",
    architectures=("GPT2LMHeadModel",),
    base="transformer",
    blocks="h",
    mlp="mlp",
    mlp_out="mlp.c_proj",
    transposed=True,
)
