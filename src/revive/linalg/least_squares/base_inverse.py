"""What a least squares starts from, A before any history, in a form that X -> A^{-1} X is cheap.

Two kinds: a positive definite matrix by its Cholesky factor (MEMIT's lambda C), and a multiple of
the identity on a subspace (AlphaEdit's null space), where A^{-1} stands for P A^{-1} P.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from revive.linalg.least_squares.cholesky import definite, factorise

# Sines of angles: a direction that comes this close to a subspace's complement lies in it.
_OUTSIDE = 1e-10


@dataclass(frozen=True)
class Definite:
    """A = L L^T.

    Attributes:
        factor: L, lower triangular `[d, d]`, fp64.
        jitter: What was added to the diagonal to make A positive definite; usually 0.
    """

    factor: Float[Tensor, "d d"]
    jitter: float

    @classmethod
    def of(cls, matrix: Float[Tensor, "d d"], name: str) -> "Definite":
        """Factorise a symmetric matrix.

        Raises:
            NumericalError: It is not positive definite, or not finite.
        """
        return cls(*factorise(matrix, name))

    @property
    def dim(self) -> int:
        """D."""
        return self.factor.shape[0]

    def solve(self, x: Float[Tensor, "d m"]) -> Float[Tensor, "d m"]:
        """A^{-1} X."""
        return torch.cholesky_solve(x, self.factor)

    def allowed(self, x: Float[Tensor, "d m"]) -> Float[Tensor, "d m"]:
        """X itself: every direction may be used."""
        return x

    def shadow(self, v: Float[Tensor, "d k"]) -> Float[Tensor, "d k"]:
        """Orthonormal V itself."""
        return v

    def plus(self, columns: Float[Tensor, "d h"]) -> "Definite":
        """A + H H^T, by one factorisation."""
        factor, added = factorise(
            torch.addmm(self.matrix(), columns, columns.T), "the history of keys"
        )
        return Definite(factor, self.jitter + added)

    def matrix(self) -> Float[Tensor, "d d"]:
        """A."""
        return self.factor @ self.factor.T

    def like(self, x: Tensor) -> Tensor:
        """X in this form's dtype and on its device."""
        return x.detach().to(self.factor)


@dataclass(frozen=True)
class Projected:
    """A = ridge I + S on the orthogonal complement of a few directions, and nothing elsewhere.

    Attributes:
        excluded: E, orthonormal `[d, e]`, fp64; P = I - E E^T.
        ridge: Weight of the identity.
        factor: Lower Cholesky factor of ridge I + P S P, `[d, d]`; None while S is zero.
    """

    excluded: Float[Tensor, "d e"]
    ridge: float
    factor: Float[Tensor, "d d"] | None = None
    jitter: float = 0.0

    @property
    def dim(self) -> int:
        """D."""
        return self.excluded.shape[0]

    def solve(self, x: Float[Tensor, "d m"]) -> Float[Tensor, "d m"]:
        """P A^{-1} P X."""
        inside = self.allowed(x)
        if self.factor is None:
            return inside / self.ridge
        return self.allowed(torch.cholesky_solve(inside, self.factor))

    def allowed(self, x: Float[Tensor, "d m"]) -> Float[Tensor, "d m"]:
        """P X."""
        return x - self.excluded @ (self.excluded.T @ x)

    def shadow(self, v: Float[Tensor, "d k"]) -> Float[Tensor, "d s"]:
        """Orthonormal columns that span P V: all that a constraint on V says of the subspace.

        A direction of V outside the subspace casts none. What is left of it after P is rounding,
        which no tolerance relative to the others' would tell from a shadow where there are none.
        """
        u, s, _ = torch.linalg.svd(self.allowed(v), full_matrices=False)
        return u[:, s > _OUTSIDE]

    def plus(self, columns: Float[Tensor, "d h"]) -> "Projected":
        """A + P H H^T P, by one factorisation."""
        inside = self.allowed(columns)
        if self.factor is None:
            matrix = inside @ inside.T
            matrix.diagonal().add_(self.ridge)
        else:
            matrix = torch.addmm(self.factor @ self.factor.T, inside, inside.T)
        return Projected(self.excluded, self.ridge, definite(matrix, "the history of keys"))

    def like(self, x: Tensor) -> Tensor:
        """X in this form's dtype and on its device."""
        return x.detach().to(self.excluded)
