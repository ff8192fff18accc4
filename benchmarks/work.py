"""Work: floating point operations and bytes, counted by formula or from what was run."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.machine import Machine

_aten = torch.ops.aten


@dataclass(frozen=True)
class Work:
    """What has to be done.

    Attributes:
        flops: Floating point operations by dtype; a multiplication and an addition are two.
        bytes: To be read and written at least once.
    """

    flops: dict[str, float] = field(default_factory=dict[str, float])
    bytes: float = 0.0

    def __add__(self, other: "Work") -> "Work":
        """Both."""
        flops: Counter[str] = Counter(self.flops)
        flops.update(other.flops)
        return Work(dict(flops), self.bytes + other.bytes)

    def __mul__(self, times: float) -> "Work":
        """The same, so many times."""
        return Work({k: v * times for k, v in self.flops.items()}, self.bytes * times)

    @property
    def total(self) -> float:
        """Floating point operations of every dtype."""
        return sum(self.flops.values())

    def floor(self, machine: Machine) -> "Floor":
        """The time it takes at least."""
        computing = sum(v / machine.matmul[k] for k, v in self.flops.items())
        moving = self.bytes / machine.bandwidth
        if max(computing, moving) <= machine.launch:
            return Floor(machine.launch, "launch")
        return Floor(computing, "flops") if computing >= moving else Floor(moving, "bytes")


@dataclass(frozen=True)
class Floor:
    """The least time, and what sets it.

    Attributes:
        seconds: FLOPs over the measured rate of products, bytes over the measured bandwidth,
            whichever is larger.
        bound: `flops`, `bytes`, or `launch` where both are less than one smallest operation.
    """

    seconds: float
    bound: str


NOTHING = Work()


def counted(work: Callable[[], Any]) -> float:
    """Floating point operations of what really runs, decompositions included.

    torch counts products and attention; the rest is counted by the usual leading terms (Golub and
    Van Loan, Matrix Computations, 4th ed., sections 4.2, 5.2, 5.4, 8.3 and 8.6). Where eigenvalues
    or singular values alone are asked for, a counter sees the whole decomposition.
    """
    with FlopCounterMode(display=False, custom_mapping=_DECOMPOSITIONS) as counter:
        work()
    return float(counter.get_total_flops())


def cholesky(n: float) -> float:
    """Factor of a positive definite [n, n] matrix."""
    return n**3 / 3


def lu(n: float) -> float:
    """Factors of an [n, n] matrix."""
    return 2 * n**3 / 3


def triangular(n: float, columns: float) -> float:
    """One triangular solve."""
    return n**2 * columns


def eigh(n: float) -> float:
    """All eigenvalues and eigenvectors of a symmetric [n, n] matrix."""
    return 9 * n**3


def eigvalsh(n: float) -> float:
    """Its eigenvalues alone."""
    return 4 * n**3 / 3


def qr(m: float, n: float, *, with_q: bool = True) -> float:
    """R of an [m, n] matrix, m >= n, and the first n columns of Q."""
    m, n = max(m, n), min(m, n)
    return (2 if with_q else 1) * (2 * m * n**2 - 2 * n**3 / 3)


def svd(m: float, n: float) -> float:
    """Thin singular value decomposition."""
    m, n = max(m, n), min(m, n)
    return 14 * m * n**2 + 8 * n**3


def _batch(shape: Any) -> int:
    count = 1
    for size in shape[:-2]:
        count *= size
    return count


def _square(formula: Callable[[float], float]) -> Callable[..., float]:
    return lambda a, *args, **kwargs: _batch(a) * formula(a[-1])


def _solve_formula(b: Any, factor: Any, *args: Any, **kwargs: Any) -> float:
    return 2 * triangular(factor[-1], b[-1])


def _triangular_formula(a: Any, b: Any, *args: Any, **kwargs: Any) -> float:
    return triangular(a[-1], b[-1])


def _qr_formula(a: Any, mode: str = "reduced", **kwargs: Any) -> float:
    return _batch(a) * qr(a[-2], a[-1], with_q=mode != "r")


def _svd_formula(a: Any, *args: Any, **kwargs: Any) -> float:
    return _batch(a) * svd(a[-2], a[-1])


def _lu_solve_formula(lu_shape: Any, pivots: Any, b: Any, **kwargs: Any) -> float:
    return 2 * triangular(lu_shape[-1], b[-1])


_DECOMPOSITIONS: dict[Any, Any] = {
    _aten.addmm_: lambda c, a, b, *args, **kwargs: 2 * a[0] * a[1] * b[1],
    _aten.mv: lambda a, x, *args, **kwargs: 2 * a[0] * a[1],
    _aten.linalg_cholesky_ex: _square(cholesky),
    _aten.cholesky_solve: _solve_formula,
    _aten._cholesky_solve_helper: _solve_formula,
    _aten.linalg_solve_triangular: _triangular_formula,
    _aten.linalg_qr: _qr_formula,
    _aten._linalg_svd: _svd_formula,
    _aten._linalg_eigh: _square(eigh),
    _aten.linalg_lu_factor_ex: _square(lu),
    _aten.linalg_lu_solve: _lu_solve_formula,
    _aten._linalg_solve_ex: lambda a, b, *args, **kwargs: lu(a[-1]) + 2 * triangular(a[-1], b[-1]),
}
