"""The one least-squares solve behind the MEMIT family.

MEMIT (arXiv 2210.07229, eq. 14), with a history of keys H and ENCORE's extra ridge:
    dW = argmin ||dW K - R||^2 + tr(dW A dW^T) = R K^T (A + K K^T)^{-1},
    A = lambda C + lambda_F I + H H^T.
In low-rank form, with B = A^{-1} K:
    dW = R (I + K^T B)^{-1} B^T.
Under the guard's constraint U^T dW = 0 and dW V = 0 the same form holds with R replaced by
(I - U U^T) R and A^{-1} by
    N = A^{-1} - A^{-1} V (V^T A^{-1} V)^{-1} V^T A^{-1},
which is Q (Q^T A Q)^{-1} Q^T for any orthonormal basis Q of span(V)^perp; Q is never formed.
Where A lives on a subspace, A^{-1} stands for P A^{-1} P and V for a basis of P V.

Letters: d inputs, n edits of a batch, h keys of earlier edits, k protected directions.
Differs from the paper: nothing in the result; the [d, d] system is factorised once, not per batch.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from revive.errors import NumericalError
from revive.linalg.basis import SpectralBasis
from revive.linalg.least_squares.base_inverse import Definite, Projected
from revive.linalg.least_squares.cholesky import definite, grow
from revive.linalg.least_squares.output_metric import OutputMetric
from revive.linalg.lowrank import LowRank


@dataclass(frozen=True)
class _Constraint:
    """A guard's protected inputs as the base sees them, kept while the base stays.

    Attributes:
        basis: The guard's.
        v: Orthonormal columns, `[d, s]`: V, or what spans P V.
        solved: base^{-1} v.
    """

    basis: SpectralBasis
    v: Tensor
    solved: Tensor


@dataclass(frozen=True)
class _History:
    """Keys since the base was factorised, in the form that Woodbury's identity wants.

    Attributes:
        keys: H, `[d, h]`.
        solved: base^{-1} H, `[d, h]`.
        factor: Lower Cholesky factor of I + H^T base^{-1} H, `[h, h]`.
    """

    keys: Tensor
    solved: Tensor
    factor: Tensor


class NormalEquations:
    """A = lambda C + lambda_F I + H H^T, ready to be solved with; never changed in place."""

    def __init__(
        self, second_moment: Float[Tensor, "d d"], ridge: float, *, extra_ridge: float = 0.0
    ) -> None:
        """Factorise the base, in fp64 on the second moment's device.

        Args:
            second_moment: C, symmetric.
            ridge: lambda, the weight of C (`mom2_update_weight`).
            extra_ridge: lambda_F, the weight of the identity (ENCORE).

        Raises:
            NumericalError: C holds NaN or infinity, or the sum is not positive definite beyond
                what a small jitter mends.
        """
        base = ridge * second_moment.double()
        base.diagonal().add_(extra_ridge)
        self._base: Definite | Projected = Definite.of(
            base, "the key second moment times its ridge"
        )
        self._history: _History | None = None
        self._constraint: _Constraint | None = None

    @classmethod
    def of_base(cls, base: Definite | Projected) -> "NormalEquations":
        """The equations of another A, without history."""
        made = object.__new__(cls)
        made._base, made._history, made._constraint = base, None, None
        return made

    @property
    def dim(self) -> int:
        """Length d of a key."""
        return self._base.dim

    @property
    def jitter(self) -> float:
        """What was added to the diagonal to make the base positive definite; usually 0."""
        return self._base.jitter

    @property
    def pending(self) -> int:
        """History columns not yet folded into the base: at most d / 2."""
        return 0 if self._history is None else self._history.keys.shape[1]

    def with_history(self, keys: Float[Tensor, "d n"]) -> "NormalEquations":
        """The equations with K K^T added to A.

        Keys wait as columns (Woodbury); once there are more than d / 2, they are folded into the
        base by one factorisation, so that time and memory stay flat in the number of edits.
        """
        new = self._base.allowed(self._checked(keys, "keys"))
        past = self._history
        if 2 * (self.pending + new.shape[1]) > self.dim:
            joined = new if past is None else torch.cat([past.keys, new], dim=1)
            return NormalEquations.of_base(self._base.plus(joined))
        grown = NormalEquations.of_base(self._base)
        grown._constraint = self._constraint
        grown._history = _appended(past, new, self._base.solve(new))
        return grown

    def restricted(self, inputs: Tensor) -> "NormalEquations":
        """The equations of some inputs alone (NSE's neurons), their history folded in.

        Args:
            inputs: Indices of the inputs that take part.

        Raises:
            TypeError: The equations live on a subspace.
        """
        if not isinstance(self._base, Definite):
            raise TypeError("equations on a subspace cannot be restricted to some inputs.")
        matrix = self._base.matrix()
        if self._history is not None:
            matrix = torch.addmm(matrix, self._history.keys, self._history.keys.T)
        chosen = matrix[inputs][:, inputs]
        return NormalEquations.of_base(Definite.of(chosen, "the equations of the chosen inputs"))

    def solve(self, columns: Float[Tensor, "d m"]) -> Float[Tensor, "d m"]:
        """A^{-1} X, fp64."""
        x = self._checked(columns, "columns")
        return self._history_solve(x, self._base.solve(x))

    def solve_update(self, keys: Float[Tensor, "d n"], residual: Float[Tensor, "out n"]) -> LowRank:
        """R K^T (A + K K^T)^{-1}; column j of `left` is the residual of edit j.

        Args:
            keys: K, one column per edit.
            residual: R, wanted change of the output on each key.

        Returns:
            An update in fp64 if an input is fp64, else in fp32.

        Raises:
            NumericalError: A key or residual holds NaN or infinity.
        """
        k = self._checked(keys, "keys")
        r = self._checked(residual, "residual", like=k)
        return _update(k, r, self.solve(k)).to(_dtype_of(keys, residual))

    def constrained_update(
        self,
        keys: Float[Tensor, "d n"],
        residual: Float[Tensor, "out n"],
        basis: SpectralBasis,
    ) -> LowRank:
        """The minimiser of the same objective over updates with U^T dW = 0 and dW V = 0.

        Ours, beyond the paper, whose filter cuts the unconstrained solution afterwards: here the
        free directions make up for what the constraint forbids.

        Raises:
            NumericalError: A key or residual holds NaN or infinity.
        """
        if basis.rank == 0:
            return self.solve_update(keys, residual)
        k = self._checked(keys, "keys")
        r = self._checked(residual, "residual", like=k)
        seen = self._constraint_of(basis)
        v, free = seen.v, self.solve(k)
        across = self._history_solve(v, seen.solved)
        factor = definite(v.T @ across, "the constraint on the protected inputs")
        free = free - across @ torch.cholesky_solve(v.T @ free, factor)
        free = free - v @ (v.T @ free)
        allowed = basis.project_out(r, "left")
        return _update(k, allowed, free).to(_dtype_of(keys, residual))

    def weighted_update(
        self,
        keys: Float[Tensor, "d n"],
        residual: Float[Tensor, "out n"],
        metric: OutputMetric,
    ) -> LowRank:
        """The minimiser of ||dW K - R||^2 + tr(G dW A dW^T), G = U diag(g) U^T over the outputs.

        Ours. With B = A^{-1} K and K^T B = Q L Q^T it costs what the plain solve does:
            dW = U [(U^T R Q)_ij / (g_i + L_j)] Q^T B^T.
        g = 1 gives the plain update; an infinite g_i leaves output direction i alone.

        Raises:
            NumericalError: A key or residual holds NaN or infinity.
        """
        k = self._checked(keys, "keys")
        r = self._checked(residual, "residual", like=k)
        solved = self.solve(k)
        gram = k.T @ solved
        values, q = torch.linalg.eigh(0.5 * (gram + gram.T))
        u, g = metric.u.to(r), metric.g.to(r)
        inner = (u.T @ r @ q) / (g[:, None] + values.clamp(min=0.0)[None])
        return LowRank(u @ inner @ q.T, solved.T).to(_dtype_of(keys, residual))

    def _checked(self, x: Tensor, what: str, like: Tensor | None = None) -> Tensor:
        wrong = x.ndim != 2 or (
            x.shape[0] != self.dim if like is None else x.shape[1] != like.shape[1]
        )
        if wrong:
            expected = f"[{self.dim}, n]" if like is None else f"[d_out, {like.shape[1]}]"
            raise ValueError(f"{what} have shape {tuple(x.shape)}; expected {expected}.")
        if not bool(torch.isfinite(x).all()):
            raise NumericalError(
                f"{what} of a batch hold NaN or infinity; run the model in a wider dtype."
            )
        return self._base.like(x)

    def _constraint_of(self, basis: SpectralBasis) -> _Constraint:
        if self._constraint is None or self._constraint.basis is not basis:
            v = self._base.shadow(self._base.like(basis.v))
            self._constraint = _Constraint(basis, v, self._base.solve(v))
        return self._constraint

    def _history_solve(self, x: Tensor, solved: Tensor) -> Tensor:
        past = self._history
        if past is None:
            return solved
        return solved - past.solved @ torch.cholesky_solve(past.solved.T @ x, past.factor)


def _appended(past: _History | None, keys: Tensor, solved: Tensor) -> _History:
    corner = keys.T @ solved
    corner.diagonal().add_(1.0)
    if past is None:
        return _History(keys, solved, definite(corner, "the history of keys"))
    return _History(
        torch.cat([past.keys, keys], dim=1),
        torch.cat([past.solved, solved], dim=1),
        grow(past.factor, past.solved.T @ keys, corner),
    )


def _update(keys: Tensor, residual: Tensor, solved: Tensor) -> LowRank:
    small = keys.T @ solved
    small.diagonal().add_(1.0)
    factor = definite(small, "the batch's system")
    return LowRank(residual, torch.cholesky_solve(solved.T, factor))


def _dtype_of(*inputs: Tensor) -> torch.dtype:
    wide = any(x.dtype == torch.float64 for x in inputs)
    return torch.float64 if wide else torch.float32
