"""All eigenvalues of a Gram matrix, and the eigenvectors of the leading ones alone, if any.

A symmetric eigensolver has three parts: reduction to a tridiagonal T (4/3 m^3 operations), all
eigenvalues of T (m^2), and eigenvectors, which cost several times the rest when all are asked for.
How many are wanted is known once the eigenvalues are: so the reduction is done once, the
eigenvalues come by the QL iteration, and the vectors of the leading ones by Dhillon and Parlett's
MRRR ("Multiple representations to compute orthogonal eigenvectors of symmetric tridiagonal
matrices", Linear Algebra Appl. 387, 2004) and m^2 k operations. The product A A^T is symmetric, so
half of it is computed. These are LAPACK's own routines, which torch does not offer one by one; on
other devices than the CPU everything is asked of torch.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from scipy.linalg import lapack
from threadpoolctl import ThreadpoolController
from torch import Tensor

from revive.linalg.half_product import add_upper_half

# MRRR gives 1e-13; where it breaks down on a cluster it is off by far more.
_ORTHONORMAL = 1e-10
_ALONE = 1024
_BY_INDEX = 2  # LAPACK's range 'I'


@dataclass(frozen=True)
class Leading:
    """Eigenvalues and leading eigenvectors of A A^T, fp64.

    Attributes:
        values: `[m]`, descending; rounding may make the last ones negative.
        vectors: `[m, k]`, orthonormal columns.
    """

    values: Float[Tensor, " m"]
    vectors: Float[Tensor, "m k"]


def leading_eigenvectors(
    a: Float[Tensor, "m n"], choose: Callable[[Float[Tensor, " m"]], int]
) -> Leading:
    """All eigenvalues of A A^T, and as many leading eigenvectors as `choose` says.

    Args:
        a: `[m, n]`, fp64, finite.
        choose: Gives k, 0 to m, from all eigenvalues, descending.
    """
    if a.device.type != "cpu" or len(a) < 2:
        return _whole(a @ a.T, choose)
    with _threads(len(a)):
        reduced = _Reduced(a)
        values = torch.from_numpy(reduced.values()[::-1].copy())
        vectors = reduced.leading(choose(values))
    return _whole(a @ a.T, choose) if vectors is None else Leading(values, vectors)


def singular_values(matrix: Float[Tensor, "out in"]) -> Float[Tensor, " min"]:
    """All of them, descending, fp64, to within 1e-8 of the largest."""
    m = matrix.detach().double()
    a = m if m.shape[0] <= m.shape[1] else m.T
    return leading_eigenvectors(a, lambda _: 0).values.clamp(min=0.0).sqrt()


class _Reduced:
    """Q^T (A A^T) Q = T, tridiagonal; Q as Householder reflectors."""

    def __init__(self, a: Tensor) -> None:
        half = a.new_zeros(len(a), len(a))
        add_upper_half(half, a.T)
        gram: Any = half.numpy().T
        self.size = len(gram)
        work, _ = lapack.dsytrd_lwork(self.size, lower=1)
        self.reflectors, self.diagonal, self.below, self.scales, info = lapack.dsytrd(
            gram, lower=1, lwork=int(work), overwrite_a=1
        )
        assert info == 0, "LAPACK refuses only wrong arguments here"

    def values(self) -> Any:
        """Eigenvalues, ascending."""
        values, info = lapack.dsterf(self.diagonal, self.below)
        assert info == 0, "of finite matrices the QL iteration converges"
        return values

    def leading(self, k: int) -> Tensor | None:
        """Eigenvectors of the k largest eigenvalues, largest first; None where MRRR fails."""
        if k == 0:
            return torch.zeros(self.size, 0, dtype=torch.float64)
        below = np.append(self.below, 0.0)
        found, _, z, info = lapack.dstemr(
            self.diagonal, below, _BY_INDEX, 0.0, 0.0, self.size - k + 1, self.size
        )
        if info != 0 or found != k:
            return None
        z = z[:, :k]
        z[1:] = self._rotated(z[1:])
        vectors = torch.from_numpy(z[:, ::-1].copy(order="C"))
        defect = vectors.T @ vectors
        defect.diagonal().sub_(1.0)
        return vectors if float(defect.abs().max()) <= _ORTHONORMAL else None

    def _rotated(self, z: Any) -> Any:
        """Q z; the first row and column of Q are those of the identity."""
        reflectors = self.reflectors[1:, :-1]
        _, best, _ = lapack.dormqr("L", "N", reflectors, self.scales, z, -1)
        rotated, _, info = lapack.dormqr("L", "N", reflectors, self.scales, z, int(best[0]))
        assert info == 0, "LAPACK refuses only wrong arguments here"
        return rotated


def _threads(size: int) -> Any:
    """For the time of the block as many threads as torch has: other splits round otherwise.

    For small matrices one. More gain nothing, and stay awake beside torch's for a while.
    """
    return _libraries().limit(limits=torch.get_num_threads() if size > _ALONE else 1)


@cache
def _libraries() -> ThreadpoolController:
    """The library behind scipy, which counts its threads itself."""
    return ThreadpoolController().select(internal_api="openblas")


def _whole(gram: Tensor, choose: Callable[[Tensor], int]) -> Leading:
    values, vectors = torch.linalg.eigh(gram)
    values = values.flip(0)
    return Leading(values, vectors.flip(1)[:, : choose(values)].contiguous())
