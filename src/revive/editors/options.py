"""Settings of the built-in editors. No torch: a spec is checked with them."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class MemitOptions(BaseModel):
    """Settings of `memit` and `memit-seq`; None means that the model's preset decides.

    Published names in brackets (arXiv:2210.07229, its code).

    Attributes:
        layers: Edited blocks, 0-based; the target is solved at the last one.
        ridge: Weight of the key second moment [mom2_update_weight, lambda]. Higher keeps other
            keys' outputs better and writes edits weaker. Where no preset sets it, it is calibrated
            on the model before the first edit.
        steps: Most loss evaluations per target [v_num_grad_steps].
        lr: Adam's step size for targets [v_lr].
        weight_decay: Penalty on the relative length of the shift [v_weight_decay].
        kl_factor: Weight of keeping what the subject is [kl_factor].
        clamp: Longest shift, relative to the hidden state [clamp_norm_factor].
        stop_loss: A target is solved below this loss; 0.05 in the authors' code.
        contexts: Generated texts that stand before the prompt.
        context_length: Tokens of each.
        key_average: Whether keys average plain prompt and contexts; ours when False.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    layers: list[Annotated[int, Field(ge=0)]] | None = None
    ridge: _Positive | None = None
    steps: Annotated[int, Field(ge=1)] | None = None
    lr: _Positive | None = None
    weight_decay: _NotNegative | None = None
    kl_factor: _NotNegative | None = None
    clamp: _Positive | None = None
    stop_loss: _NotNegative = 0.05
    contexts: Annotated[int, Field(ge=0)] = 5
    context_length: Annotated[int, Field(ge=1)] = 10
    key_average: bool = True

    @model_validator(mode="after")
    def _layers_ascend(self) -> Self:
        if self.layers is not None and (not self.layers or self.layers != sorted(set(self.layers))):
            raise ValueError(
                f"layers must be ascending and different, got {self.layers}; write for example "
                "[2, 3, 4]"
            )
        return self


OPTIONS: Mapping[str, type[MemitOptions]] = MappingProxyType(
    {"memit": MemitOptions, "memit-seq": MemitOptions}
)
