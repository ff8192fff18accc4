"""Input directions that ordinary keys hardly use: where an update may go and disturb little.

From the eigenvalues of a key second moment C = E[k k^T], each the mean square of ordinary keys
along one direction. Two rules say which directions count as unused:

- `below`: those with an eigenvalue under a number (AlphaEdit, arXiv 2410.02355). The number
  depends on the scale of the model's keys, and so means little for another model.
- `holding`: the least ones that together hold at most a share of tr C = E ||k||^2 (ours). With P
  the projector on them, E ||P k||^2 <= share * E ||k||^2: on ordinary text no more than that share
  of a key's energy meets the update, whatever the scale, the width or the spectrum.

Stored is the complement, E with P = I - E E^T: the used directions are few where P is of use.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from revive.errors import NumericalError

# Of the largest eigenvalue: which of several equal ones come first is a matter of rounding.
_TIE = 1e-9


@dataclass(frozen=True)
class NullSpace:
    """The directions that an update may use.

    Attributes:
        excluded: E, orthonormal `[d, e]`, fp64: the directions it may not use.
        kept: Share of the d directions that it may use.
        energy: Share of tr C in them: of the energy of ordinary keys that meets an update.
    """

    excluded: Float[Tensor, "d e"]
    kept: float
    energy: float

    @classmethod
    def below(cls, second_moment: Float[Tensor, "d d"], threshold: float) -> "NullSpace":
        """The directions whose eigenvalue is less than `threshold`.

        Raises:
            NumericalError: The moment holds NaN or infinity, or is zero.
        """
        values, vectors = _spectrum(second_moment)
        return cls._first(values, vectors, int((values < threshold).sum()))

    @classmethod
    def holding(cls, second_moment: Float[Tensor, "d d"], share: float) -> "NullSpace":
        """The directions of least eigenvalue that together hold at most `share` of the trace.

        Directions of equal eigenvalue are taken together or not at all.

        Raises:
            NumericalError: The moment holds NaN or infinity, or is zero.
        """
        values, vectors = _spectrum(second_moment)
        count = int((values.cumsum(0) <= share * values.sum()).sum())
        if count < len(values):
            count = int((values < values[count] - _TIE * values[-1]).sum())
        return cls._first(values, vectors, count)

    @classmethod
    def _first(cls, values: Tensor, vectors: Tensor, count: int) -> "NullSpace":
        energy = float(values[:count].sum() / values.sum())
        return cls(vectors[:, count:].contiguous(), count / len(values), energy)


def _spectrum(second_moment: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues, ascending, and eigenvectors; what rounding made negative is zero."""
    if not bool(torch.isfinite(second_moment).all()):
        raise NumericalError(
            "the key second moment holds NaN or infinity; collect it again in a wider dtype."
        )
    wide = second_moment.double()
    values, vectors = torch.linalg.eigh(0.5 * (wide + wide.T))
    values = values.clamp(min=0.0)
    if float(values[-1]) == 0.0:
        raise NumericalError("the key second moment is zero; give it text to be collected from.")
    return values, vectors
