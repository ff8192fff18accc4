"""How much each output direction of a weight is worth: the soft form of protecting the first k.

`solve: weighted` (ours, beyond arXiv 2601.11042) minimises
    ||dW K - R||^2 + tr(G dW A dW^T),   G = U diag(g) U^T,
where A is the editor's own regulariser (lambda C and the like). g_i = 1 is the editor as it is;
g_i = infinity keeps direction i untouched, so that REVIVE's output side is the limit.

Three choices of U and of the value s_i that g_i = (s_i / median s)^power grows with:
- `singular`: W = U S V^T. What is large in the weight.
- `inputs`: W C W^T = U S^2 U^T. What is large in the outputs on ordinary text.
- `gradients`: E[g g^T] = U S^2 U^T, g the loss's gradient at the output on ordinary text. What
  the model's answers depend on.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from revive.errors import NumericalError

# A direction of no worth still is one: without a floor its equations would be singular.
_FLOOR = 1e-9
# Roots of eigenvalues: below this share of the largest they are rounding of zero.
_UNUSED = 1e-7


@dataclass(frozen=True)
class OutputMetric:
    """G = U diag(g) U^T over the outputs of one weight.

    Attributes:
        u: Orthonormal `[out, out]`, fp64.
        g: `[out]`, at least 0; infinity forbids a direction.
    """

    u: Float[Tensor, "out out"]
    g: Float[Tensor, " out"]

    @classmethod
    def of_weight(cls, weight: Float[Tensor, "out in"], power: float) -> "OutputMetric":
        """From the weight's own singular values."""
        wide = weight.detach().double()
        return cls.of_moment(wide @ wide.T, power)

    @classmethod
    def of_inputs(
        cls, weight: Float[Tensor, "out in"], moment: Float[Tensor, "in in"], power: float
    ) -> "OutputMetric":
        """From what the weight makes of ordinary inputs, with their second moment C."""
        wide = weight.detach().double()
        return cls.of_moment(wide @ moment.to(wide) @ wide.T, power)

    @classmethod
    def of_moment(cls, moment: Float[Tensor, "out out"], power: float) -> "OutputMetric":
        """From a second moment over the outputs; s_i is the root of its eigenvalue.

        The median is of the directions in use, those that are not zero.

        Raises:
            NumericalError: The moment is not finite, or zero.
        """
        if not bool(torch.isfinite(moment).all()):
            raise NumericalError("guard: a second moment for its weights holds NaN or infinity.")
        values, u = torch.linalg.eigh(moment.double())
        s = values.clamp(min=0.0).sqrt().flip(0)
        used = s[s > _UNUSED * s[0]]
        if len(used) == 0:
            raise NumericalError(
                "guard: a second moment for its weights is zero; a weight or a text is missing."
            )
        middle = float(used.median())
        return cls(u.flip(1).contiguous(), ((s / middle) ** power).clamp(min=_FLOOR))

    def forbidding(self, rank: int) -> "OutputMetric":
        """The same with the first `rank` directions out of bounds."""
        g = self.g.clone()
        g[:rank] = float("inf")
        return OutputMetric(self.u, g)
