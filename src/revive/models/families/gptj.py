"""GPT-J: attention and MLP in parallel, a head with a bias."""

from revive.models.family import Family

FAMILY = Family(
    name="gptj",
    architectures=("GPTJForCausalLM",),
    base="transformer",
    blocks="h",
    mlp="mlp",
    mlp_out="mlp.fc_out",
    transposed=False,
)
