"""OLMo 2 and 3: no norm before the MLP, one after it; OLMo 3 has sliding windows."""

from typing import Any

from revive.models.family import Family
from revive.models.residual_write import Normed


def _entry(block: Any) -> Normed:
    norm = block.post_feedforward_layernorm
    return Normed(norm, norm.weight.detach())


FAMILY = Family(
    name="olmo2",
    architectures=("Olmo2ForCausalLM", "Olmo3ForCausalLM"),
    base="model",
    blocks="layers",
    mlp="mlp",
    mlp_out="mlp.down_proj",
    transposed=False,
    entry=_entry,
)
