"""The nearest point of an ellipsoid, by one equation for one multiplier per row."""

import torch
from jaxtyping import Float
from torch import Tensor

_HALVINGS = 64


def nearest_on_ellipsoid(
    axes: Float[Tensor, "n d"],
    target: Float[Tensor, "n d"],
    start: Float[Tensor, "n d"],
    *,
    stay: float = 1e-4,
) -> Float[Tensor, "n d"]:
    """Unit vectors v that bring axes * v nearest to a target, at little cost of leaving `start`.

        argmin over ||v|| = 1 of ||axes * v - target||^2 + weight ||v - start||^2

    with weight = stay * mean(axes^2). Without the second term an axis of length zero would leave v
    free, and a short one would turn v a long way for next to nothing. Since both norms are fixed,
    that term is linear in v, and the minimiser is that of a trust region (Moré and Sorensen 1983):

        v = (axes * target + weight * start) / (axes^2 + mu),  mu the one that makes ||v|| = 1

    Its objective is at most that of `start`: axes * v is never further from the target than
    axes * start, and a target that start already meets leaves it where it is.

    Args:
        axes: Lengths of the half axes, of either sign.
        target: What axes * v should be.
        start: Unit vectors; a row of zeros is answered with zeros where its target is zero too.
        stay: Weight of staying, relative to the mean squared axis.

    Returns:
        `[n, d]` of unit length.
    """
    curve = axes.square()
    weight = stay * curve.mean(dim=1, keepdim=True)
    pull = axes * target + weight * start
    above = curve - curve.amin(dim=1, keepdim=True)
    # With s = mu + the least curve: one component alone is too long at `low`, all are too short
    # at `high`, and the length falls in between.
    low = (pull.abs() - above).amax(dim=1, keepdim=True).clamp(min=0.0)
    high = pull.norm(dim=1, keepdim=True)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        long = (pull / (above + middle)).norm(dim=1, keepdim=True) > 1
        low, high = torch.where(long, middle, low), torch.where(long, high, middle)
    v = pull / (above + high)
    found = v / v.norm(dim=1, keepdim=True)
    return torch.where(found.isfinite().all(dim=1, keepdim=True), found, start)
