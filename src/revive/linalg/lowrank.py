"""Low-rank matrices `left @ right`, and the little algebra that updates need."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class LowRank:
    """The matrix `left @ right`, kept as factors.

    Attributes:
        left: `[d_out, r]`.
        right: `[r, d_in]`, same dtype and device as `left`.
    """

    left: Tensor
    right: Tensor

    def __post_init__(self) -> None:
        """Refuse factors that do not multiply."""
        if self.left.ndim != 2 or self.right.ndim != 2:
            raise ValueError(
                f"LowRank needs two matrices, got shapes {tuple(self.left.shape)} and "
                f"{tuple(self.right.shape)}; pass left [d_out, r] and right [r, d_in]."
            )
        if self.left.shape[1] != self.right.shape[0]:
            raise ValueError(
                f"LowRank factors disagree on the rank: left {tuple(self.left.shape)}, "
                f"right {tuple(self.right.shape)}; left's columns must equal right's rows."
            )

    def __repr__(self) -> str:
        """Shape and rank, not the numbers."""
        return f"LowRank({self.shape[0]} x {self.shape[1]}, rank {self.rank})"

    @property
    def rank(self) -> int:
        """Number of columns of `left`: an upper bound on the matrix rank."""
        return self.left.shape[1]

    @property
    def shape(self) -> tuple[int, int]:
        """`(d_out, d_in)`."""
        return self.left.shape[0], self.right.shape[1]

    def dense(self) -> Tensor:
        """The matrix itself, `[d_out, d_in]`."""
        return self.left @ self.right

    def fro(self) -> float:
        """Frobenius norm in fp64, from the r x r core of the factors' QR.

        Grams of the factors would be cheaper, but square the condition number: a small norm that
        comes from cancellation between large factors would drown in rounding.
        """
        if self.rank == 0:
            return 0.0
        if self.rank >= min(self.shape):
            # No smaller than the matrix itself: QR would cost more than the product.
            return float(torch.linalg.matrix_norm(self.left.double() @ self.right.double()))
        _, core = self._core()
        return float(torch.linalg.matrix_norm(core))

    def column_squares(self) -> Tensor:
        """`[r]` squared Frobenius norm, fp64, of each column of `left` times its row of `right`."""
        return self.left.double().square().sum(0) * self.right.double().square().sum(1)

    def spectral_norm(self) -> float:
        """Largest singular value, in fp64."""
        if self.rank == 0:
            return 0.0
        _, core = self._core()
        return float(torch.linalg.matrix_norm(core, ord=2))

    def scaled(self, factor: float) -> "LowRank":
        """`factor` times this matrix."""
        return LowRank(self.left * factor, self.right)

    def to(self, dtype: torch.dtype, device: torch.device | None = None) -> "LowRank":
        """The same factors in another dtype and, if given, on another device."""
        return LowRank(self.left.to(device, dtype), self.right.to(device, dtype))

    def finite(self) -> bool:
        """Whether both factors are free of NaN and infinity."""
        return bool(torch.isfinite(self.left).all() and torch.isfinite(self.right).all())

    def compressed(self, tolerance: float = 1e-7) -> "LowRank":
        """The same matrix with singular values below `tolerance` of the largest one dropped.

        Computed in fp64 from QR factors, returned in this dtype; `left` has orthonormal columns
        times the singular values.
        """
        if self.rank == 0:
            return self
        u, s, vh = self.svd()
        keep = int((s > tolerance * s[0]).sum()) if float(s[0]) > 0 else 0
        left, right = u[:, :keep] * s[:keep], vh[:keep]
        return LowRank(left.to(self.left.dtype), right.to(self.right.dtype))

    def svd(self) -> tuple[Tensor, Tensor, Tensor]:
        """Singular value decomposition `(u, s, vh)` by QR of the factors, fp64.

        Returns:
            `u [d_out, m]`, `s [m]` descending, `vh [m, d_in]`, m = min(r, d_out, d_in).
        """
        ql, rl = torch.linalg.qr(self.left.double())
        qr, rr = torch.linalg.qr(self.right.double().T)
        u, s, vh = torch.linalg.svd(rl @ rr.T, full_matrices=False)
        return ql @ u, s, vh @ qr.T

    def __add__(self, other: "LowRank") -> "LowRank":
        """The sum, as concatenated factors (rank adds up)."""
        if self.shape != other.shape:
            raise ValueError(f"Cannot add updates of shapes {self.shape} and {other.shape}.")
        return LowRank(
            torch.cat([self.left, other.left], dim=1), torch.cat([self.right, other.right], dim=0)
        )

    def _core(self) -> tuple[Tensor, Tensor]:
        ql, rl = torch.linalg.qr(self.left.double())
        rr = torch.linalg.qr(self.right.double().T)[1]
        return ql, rl @ rr.T

    @staticmethod
    def of_dense(matrix: Tensor) -> "LowRank":
        """Any matrix, with the identity of its smaller side as one of the factors.

        For updates that have no low rank (a mask, a trained weight): exact, and of rank
        min(d_out, d_in).
        """
        d_out, d_in = matrix.shape
        if d_out <= d_in:
            return LowRank(torch.eye(d_out, dtype=matrix.dtype, device=matrix.device), matrix)
        return LowRank(matrix, torch.eye(d_in, dtype=matrix.dtype, device=matrix.device))

    @staticmethod
    def zeros(d_out: int, d_in: int, dtype: torch.dtype = torch.float32) -> "LowRank":
        """The zero matrix, of rank 0."""
        return LowRank(torch.zeros(d_out, 0, dtype=dtype), torch.zeros(0, d_in, dtype=dtype))
