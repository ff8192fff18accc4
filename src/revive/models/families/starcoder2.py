"""StarCoder2: an ungated MLP with bias, sliding windows."""

from revive.models.family import Family

FAMILY = Family(
    name="starcoder2",
    architectures=("Starcoder2ForCausalLM",),
    base="model",
    blocks="layers",
    mlp="mlp",
    mlp_out="mlp.c_proj",
    transposed=False,
)
