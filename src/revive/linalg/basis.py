"""The dominant singular directions of a weight, and what it means to keep an update out of them.

REVIVE (arXiv 2601.11042): W0 = U S V^T; the protected rank is
    k = min{ k : sum_{i<=k} s_i / sum_i s_i >= tau }
and an update is filtered by zeroing alpha_ij = (U^T dW V)_ij for i <= k or j <= k, which is
    dW_safe = (I - U_k U_k^T) dW (I - V_k V_k^T).
Only the top k triplets are needed. Rebuilding dW from the tail of a compact SVD is another method:
it also deletes the part of dW in the null space of W.

Differs from the paper:
- A cut inside a group of equal singular values (within 1e-9 of s_1) is moved to the end of the
  group: which members come first is a matter of rounding, and the result would depend on it.
- The authors' released code is reported to protect k - 1 directions; here it is k.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import overload

import torch
from jaxtyping import Float
from torch import Tensor

from revive.linalg.blocks import Blocks, Sides
from revive.linalg.fingerprint import fingerprint
from revive.linalg.lowrank import LowRank
from revive.linalg.norm import spectral_norm
from revive.linalg.subspace import projector_overlap
from revive.linalg.svd import top_k_svd


@dataclass(frozen=True, slots=True)
class Overlap:
    """||U1^T U2||_F^2 / k of the output directions (left) and of the input directions (right)."""

    left: float
    right: float


@dataclass(frozen=True)
class SpectralBasis:
    """Protected directions of one weight, fp64 on the weight's device.

    Attributes:
        u: `[out, k]`, orthonormal output directions.
        s: All `min(out, in)` singular values of the weight, descending.
        v: `[in, k]`, orthonormal input directions.
        rank: k.
        residual: max ||W v_i - s_i u_i||, ||W^T u_i - s_i v_i|| over s_1; 0 is exact. NaN where
            the directions are not singular ones (`with_directions`).
        fingerprint: Of the weight.
    """

    u: Float[Tensor, "out k"]
    s: Float[Tensor, " min"]
    v: Float[Tensor, "in k"]
    rank: int
    residual: float
    fingerprint: str

    @classmethod
    def fit(
        cls,
        weight: Float[Tensor, "out in"],
        *,
        energy: float | None = None,
        rank: int | None = None,
    ) -> "SpectralBasis":
        """Dominant directions of a weight.

        Args:
            weight: `[out, in]`, any floating dtype.
            energy: tau, share of the summed singular values to protect, in [0, 1].
            rank: Number of directions instead, taken as it is (ties are not extended).

        Raises:
            NumericalError: The weight holds NaN or infinity.
            SpecError: `energy` outside [0, 1].
            ValueError: Not exactly one of `energy` and `rank`.
        """
        top = top_k_svd(weight, rank, energy=energy)
        # One memory layout, computed or read from disk: products round alike only then.
        u, s, v = (t.contiguous() for t in (top.u, top.s, top.v))
        return cls(u, s, v, top.rank, top.residual, fingerprint(weight))

    @cached_property
    def gap(self) -> float:
        """(s_k - s_{k+1}) / s_1: how sharply the cut is defined; 0 where it splits a tie."""
        if self.rank == 0 or float(self.s[0]) == 0.0:
            return 1.0
        following = float(self.s[self.rank]) if self.rank < len(self.s) else 0.0
        return (float(self.s[self.rank - 1]) - following) / float(self.s[0])

    def with_directions(
        self, u: Float[Tensor, "out m"], v: Float[Tensor, "in m"]
    ) -> "SpectralBasis":
        """Other orthonormal directions for the same weight: the controls' bases."""
        return SpectralBasis(
            u.to(self.u), self.s, v.to(self.v), u.shape[1], float("nan"), self.fingerprint
        )

    @overload
    def project_out(self, update: LowRank, sides: Sides = "both") -> LowRank: ...
    @overload
    def project_out(self, update: Tensor, sides: Sides = "both") -> Tensor: ...
    def project_out(self, update: LowRank | Tensor, sides: Sides = "both") -> LowRank | Tensor:
        """(I - U U^T) dW (I - V V^T), or one side of it; same form and dtype out.

        Computed in fp64, each projection twice: one leaves rounding of the size of the removed
        part, the second of the size of what is left.
        """
        if isinstance(update, LowRank):
            left = self._outside_left(update.left, sides)
            return LowRank(left, self._outside_right(update.right, sides))
        return self._outside_right(self._outside_left(update, sides), sides)

    def block_shares(self, update: LowRank) -> Blocks:
        """Shares of the update's energy in the four blocks; from factors, nothing is densified."""
        left, right = update.left.double(), update.right.double().T
        if update.rank == 0:
            return Blocks.none()
        u, v = self.u.to(left), self.v.to(right)
        inside_left, inside_right = u.T @ left, v.T @ right
        a, c = _triangle(inside_left), _triangle(left - u @ inside_left)
        b, d = _triangle(inside_right), _triangle(right - v @ inside_right)
        energies = [float((x @ y.T).square().sum()) for x in (a, c) for y in (b, d)]
        total = sum(energies)
        if total == 0.0:
            return Blocks.none()
        return Blocks(*(energy / total for energy in energies))

    def overlap(self, other: "SpectralBasis") -> Overlap:
        """Share of these directions that lies in the span of `other`'s; 1 where k is 0."""
        return Overlap(projector_overlap(self.u, other.u), projector_overlap(self.v, other.v))

    def tail_ratio(self, weight: Float[Tensor, "out in"], *, tolerance: float = 1e-8) -> float:
        """||(I - U U^T) W (I - V V^T)||_2 / s_k for the weight as it stands now.

        Below 1 the protected directions are still the dominant ones of a weight whose updates were
        all guarded; above 1 what edits built up has overtaken them. 0 where k is 0.

        Args:
            weight: `[out, in]`, the shape that was fitted.
            tolerance: Relative error of the norm where it is found by iteration (not on a CPU).
        """
        if self.rank == 0:
            return 0.0
        w = weight.detach().double()
        u, v = self.u.to(w.device), self.v.to(w.device)
        w = w - u @ (u.T @ w)
        tail = spectral_norm(w - (w @ v) @ v.T, tolerance=tolerance)
        return tail / float(self.s[self.rank - 1])

    def sine_to_dominant(self, weight: Float[Tensor, "out in"], tail: float) -> float:
        """Bound on the sine of the largest angle to the k dominant directions of another weight.

        With the residuals E = W V - U S and F = W^T U - V S, and `tail` that of `tail_ratio`, every
        singular value but k is at most s_k tail + ||E||, so the sine is at most
        max(||E||, ||F||) / (s_k - s_k tail - ||E||) (Wedin 1972). Under a guard of these directions
        both residuals are rounding: no decomposition is needed to know that they still lead.

        Args:
            weight: `[out, in]`, the shape that was fitted.
            tail: `tail_ratio(weight)`.

        Returns:
            The bound; infinite where it says nothing.
        """
        if self.rank == 0:
            return 0.0
        w = weight.detach().double()
        u, s, v = self.u.to(w.device), self.s[: self.rank].to(w.device), self.v.to(w.device)
        left = float(torch.linalg.matrix_norm(w @ v - u * s))
        right = float(torch.linalg.matrix_norm(w.T @ u - v * s))
        gap = float(s[-1]) * (1.0 - tail) - left
        return max(left, right) / gap if gap > 0 else float("inf")

    def _outside_left(self, x: Tensor, sides: Sides) -> Tensor:
        if sides == "right" or self.rank == 0:
            return x
        return _outside(self.u, x)

    def _outside_right(self, x: Tensor, sides: Sides) -> Tensor:
        if sides == "left" or self.rank == 0:
            return x
        return _outside(self.v, x.T).T


def _outside(directions: Tensor, x: Tensor) -> Tensor:
    wide = x.double()
    directions = directions.to(wide.device)
    for _ in range(2):
        wide = wide - directions @ (directions.T @ wide)
    return wide.to(x.dtype)


def _triangle(factor: Tensor) -> Tensor:
    return torch.linalg.qr(factor, mode="r")[1]
