"""OPT: learned positions, the MLP straight in the block, bias."""

from revive.models.family import Family

FAMILY = Family(
    name="opt",
    architectures=("OPTForCausalLM",),
    base="model.decoder",
    blocks="layers",
    mlp="fc2",
    mlp_out="fc2",
    transposed=False,
)
