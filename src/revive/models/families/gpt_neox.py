"""GPT-NeoX and Pythia."""

from revive.models.family import Family

FAMILY = Family(
    name="gpt_neox",
    architectures=("GPTNeoXForCausalLM",),
    base="gpt_neox",
    blocks="layers",
    mlp="mlp",
    mlp_out="mlp.dense_4h_to_h",
    transposed=False,
)
