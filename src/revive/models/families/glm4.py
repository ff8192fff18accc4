"""GLM-4: norms before and after the MLP."""

from typing import Any

from revive.models.family import Family
from revive.models.residual_write import Normed


def _entry(block: Any) -> Normed:
    norm = block.post_mlp_layernorm
    return Normed(norm, norm.weight.detach())


FAMILY = Family(
    name="glm4",
    architectures=("Glm4ForCausalLM",),
    base="model",
    blocks="layers",
    mlp="mlp",
    mlp_out="mlp.down_proj",
    transposed=False,
    entry=_entry,
)
