"""Cohere (Command R): parallel attention and MLP, and logits that are scaled."""

from typing import Any

from torch import Tensor

from revive.models.family import Family


def _scaled(model: Any, logits: Tensor) -> Tensor:
    return logits * model.logit_scale


FAMILY = Family(
    name="cohere",
    architectures=("CohereForCausalLM",),
    base="model",
    blocks="layers",
    mlp="mlp",
    mlp_out="mlp.down_proj",
    transposed=False,
    after_head=_scaled,
)
