"""How what a site puts out enters the residual stream, where it is not simply added.

Some models scale the MLP's output (Granite), others normalise it (Gemma 2 and 3, OLMo 2 and 3,
GLM-4). Editors think in the residual stream; a site's weight changes its own output. An entry
leads from one to the other.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from revive.linalg.ellipsoid import nearest_on_ellipsoid


class ResidualWrite(Protocol):
    """From a site's output to what the residual stream receives of it, and back."""

    def written(self, y: Float[Tensor, "*rows d"]) -> Float[Tensor, "*rows d"]:
        """What the residual stream receives of outputs y, by the model's own arithmetic."""
        ...

    def pulled_back(
        self, y: Float[Tensor, "n d"], wanted: Float[Tensor, "n d"]
    ) -> Float[Tensor, "n d"]:
        """The change of y that changes what is written by `wanted`, or as nearly as it can."""
        ...


@dataclass(frozen=True)
class Scaled:
    """Every output is multiplied by one number."""

    factor: float

    def written(self, y: Float[Tensor, "*rows d"]) -> Float[Tensor, "*rows d"]:
        """The scaled output."""
        return y * self.factor

    def pulled_back(
        self, y: Float[Tensor, "n d"], wanted: Float[Tensor, "n d"]
    ) -> Float[Tensor, "n d"]:
        """Exact."""
        del y
        return wanted / self.factor


@dataclass(frozen=True)
class Normed:
    """Outputs pass an RMS norm: only their direction counts.

    What can be written is an ellipsoid, so that not every change can be had. y is turned, at its
    own length, towards the nearest point of it; what is written is then never further from what is
    wanted than before. A longer y would write the same, a shorter one would be turned by
    whatever else changes it.

    Attributes:
        norm: The model's own.
        gain: `[d]`, what it multiplies normalised vectors by.
    """

    norm: Callable[[Tensor], Tensor]
    gain: Float[Tensor, " d"]

    def written(self, y: Float[Tensor, "*rows d"]) -> Float[Tensor, "*rows d"]:
        """The normalised output."""
        return self.norm(y)

    @torch.no_grad()
    def pulled_back(
        self, y: Float[Tensor, "n d"], wanted: Float[Tensor, "n d"]
    ) -> Float[Tensor, "n d"]:
        """The nearest there is. Zero outputs stay: they have no length to be turned at."""
        wide, now = y.double(), self.written(y).double()
        length = wide.norm(dim=1, keepdim=True)
        start = wide / length.clamp(min=torch.finfo(torch.float64).tiny)
        axes = self.gain.double() * start
        # The norm's own factor, read off: no need to know how it keeps from dividing by zero.
        factor = (now * axes).sum(dim=1, keepdim=True) / axes.square().sum(dim=1, keepdim=True)
        axes = factor.nan_to_num() * self.gain.double()
        turned = nearest_on_ellipsoid(axes, now + wanted.double(), start)
        return ((turned - start) * length).to(y.dtype)
