"""Settings that only some built-in guards have. No torch: a spec is checked with them."""

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


class GuardOptions(BaseModel):
    """Of guards without settings of their own."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class ReviveOptions(GuardOptions):
    """`revive`: how `solve: weighted` prices output directions."""

    power: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 2.0
    weigh: Literal["singular", "inputs", "gradients"] = "singular"


class RectGuardOptions(GuardOptions):
    """`rect`: share of entries that is written."""

    keep: Annotated[float, Field(gt=0, le=1)] = 0.4


class PruneGuardOptions(GuardOptions):
    """`prune`: what becomes of singular values above the weight's largest."""

    function: Literal["log", "linear"] = "log"
    base: Annotated[float, Field(gt=1, allow_inf_nan=False)] = math.e


class SphereOptions(GuardOptions):
    """`sphere`: which input directions, and how much of what lies there is removed."""

    share: Annotated[float, Field(ge=0, le=1)] = 0.5
    kind: Literal["soft", "hard"] = "soft"
    alpha: Annotated[float, Field(ge=0, le=1)] = 0.5


class NormCapOptions(GuardOptions):
    """`norm-cap`: longest update and longest sum, as shares of the weight's norm."""

    update: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = 0.1
    total: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None


GUARD_OPTIONS: Mapping[str, type[GuardOptions]] = MappingProxyType(
    {
        "revive": ReviveOptions,
        "rect": RectGuardOptions,
        "prune": PruneGuardOptions,
        "sphere": SphereOptions,
        "norm-cap": NormCapOptions,
    }
)
