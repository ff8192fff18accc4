"""Cholesky factors: with the least jitter that makes them exist, and grown block by block."""

import torch
from jaxtyping import Float
from torch import Tensor

from revive.errors import NumericalError

_FIRST_JITTER, _LAST_JITTER = 1e-10, 1e-6


def factorise(
    matrix: Float[Tensor, "d d"], name: str = "matrix"
) -> tuple[Float[Tensor, "d d"], float]:
    """Lower Cholesky factor of a symmetric matrix, and what was added to its diagonal for it.

    Nothing is added where the matrix is positive definite in working precision. Otherwise 1e-10
    of the mean diagonal is, times 10 until the factor exists, up to 1e-6.

    Raises:
        NumericalError: NaN, infinity, zero, or indefinite beyond rounding.
    """
    if not bool(torch.isfinite(matrix).all()):
        raise NumericalError(f"{name} holds NaN or infinity; collect it again in a wider dtype.")
    mean = float(matrix.diagonal().mean())
    factor = _attempt(matrix)
    if factor is not None:
        return factor, 0.0
    relative = _FIRST_JITTER
    while mean > 0 and relative <= _LAST_JITTER * 1.01:
        jitter = relative * mean
        shifted = matrix.clone()
        shifted.diagonal().add_(jitter)
        factor = _attempt(shifted)
        if factor is not None:
            return factor, jitter
        relative *= 10
    raise NumericalError(
        f"{name} is not positive definite, even with 1e-6 of its mean diagonal added; give it more "
        "text to be collected from, or a larger ridge."
    )


def definite(matrix: Float[Tensor, "d d"], name: str) -> Float[Tensor, "d d"]:
    """Lower Cholesky factor of a matrix that is positive definite by construction.

    Raises:
        NumericalError: Rounding made it indefinite: the equations are too ill-conditioned.
    """
    factor, info = torch.linalg.cholesky_ex(0.5 * (matrix + matrix.T))
    if int(info) != 0:
        raise NumericalError(
            f"{name} lost positive definiteness to rounding; the key second moment is too "
            "ill-conditioned. Collect it from more text, or raise the ridge."
        )
    return factor


def grow(
    factor: Float[Tensor, "h h"], cross: Float[Tensor, "h n"], corner: Float[Tensor, "n n"]
) -> Float[Tensor, "m m"]:
    """Factor of [[S, X], [X^T, D]] from the factor of S, in O(h^2 n)."""
    side = torch.linalg.solve_triangular(factor, cross, upper=False)
    last = definite(corner - side.T @ side, "the history of keys")
    h, n = cross.shape
    grown = torch.zeros(h + n, h + n, dtype=factor.dtype, device=factor.device)
    grown[:h, :h] = factor
    grown[h:, :h] = side.T
    grown[h:, h:] = last
    return grown


def _attempt(matrix: Tensor) -> Tensor | None:
    factor, info = torch.linalg.cholesky_ex(matrix)
    if int(info) != 0:
        return None
    # A factor exists for some singular matrices too, by luck of rounding: its pivots tell.
    pivots = factor.diagonal().square()
    floor = torch.finfo(matrix.dtype).eps * matrix.shape[0] * matrix.diagonal().max()
    return factor if bool((pivots > floor).all()) else None
