"""Gemma 2 and 3, text: a norm after the MLP, sliding windows, logits that may be capped."""

from typing import Any

import torch
from torch import Tensor

from revive.models.family import Family
from revive.models.residual_write import Normed


def _capped(model: Any, logits: Tensor) -> Tensor:
    cap: float | None = model.config.final_logit_softcapping
    return logits if cap is None else torch.tanh(logits / cap) * cap


def _entry(block: Any) -> Normed:
    norm = block.post_feedforward_layernorm
    return Normed(norm, 1.0 + norm.weight.detach())


FAMILY = Family(
    name="gemma2",
    architectures=(
        "Gemma2ForCausalLM",
        "Gemma3ForCausalLM",
        "Gemma3ForConditionalGeneration",  # of which the text part is loaded alone
    ),
    base="model",
    blocks="layers",
    mlp="mlp",
    mlp_out="mlp.down_proj",
    transposed=False,
    after_head=_capped,
    entry=_entry,
)
