"""Granite: embeddings, what blocks add, and logits are each scaled by a number."""

from typing import Any

from torch import Tensor

from revive.models.family import Family
from revive.models.residual_write import Scaled


def _scaled(model: Any, logits: Tensor) -> Tensor:
    return logits / model.config.logits_scaling


def _entry(block: Any) -> Scaled:
    return Scaled(block.residual_multiplier)


FAMILY = Family(
    name="granite",
    architectures=("GraniteForCausalLM",),
    base="model",
    blocks="layers",
    mlp="mlp",
    mlp_out="mlp.down_proj",
    transposed=False,
    after_head=_scaled,
    entry=_entry,
)
