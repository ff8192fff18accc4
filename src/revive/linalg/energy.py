"""How many leading singular values hold a given share of the energy.

Energy is the sum of singular values, not of their squares (REVIVE, section on the protected rank).
"""

import torch
from jaxtyping import Float
from torch import Tensor

from revive.errors import SpecError

# Cumulative sums of a few thousand fp64 numbers are good to about 1e-13 of their total.
_ROUNDING = 1e-12
# Two singular values closer than this share of the largest span one subspace: which of their
# directions comes first is a matter of rounding.
_TIE = 1e-9


def numerical_rank(s: Float[Tensor, " m"], shape: tuple[int, ...]) -> int:
    """Number of singular values that are not rounding of zero.

    Args:
        s: All singular values, descending, fp64.
        shape: Shape of the matrix they belong to.
    """
    if s.numel() == 0:
        return 0
    return int((s > torch.finfo(s.dtype).eps * max(shape) * s[0]).sum())


def rank_for_energy(s: Float[Tensor, " m"], energy: float, shape: tuple[int, ...]) -> int:
    """Protected rank min{ k : sum_{i<=k} s_i / sum_i s_i >= energy }, extended over ties.

    A cut inside a group of equal singular values (within 1e-9 of the largest) would protect an
    arbitrary part of the group, so k moves to the end of the group. `energy=0` protects nothing,
    `energy=1` every direction with a nonzero singular value.

    Args:
        s: All singular values, descending, fp64.
        energy: Share tau of the summed singular values, in [0, 1].
        shape: Shape of the matrix.

    Raises:
        SpecError: `energy` is outside [0, 1].
    """
    if not 0.0 <= energy <= 1.0:
        raise SpecError(f"energy: {energy} is not a share; give a number from 0 to 1.")
    nonzero = numerical_rank(s, shape)
    if energy == 0.0 or nonzero == 0:
        return 0
    if energy == 1.0:
        return nonzero
    total = s.sum()
    reached = s.cumsum(0) >= energy * total - _ROUNDING * total
    k = min(int(reached.int().argmax()) + 1, nonzero)
    while k < nonzero and float(s[k - 1] - s[k]) <= _TIE * float(s[0]):
        k += 1
    return k
