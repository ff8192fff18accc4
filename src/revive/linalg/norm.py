"""The largest singular value: of a matrix, or of an operator that is never formed."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from revive.linalg.eigen import singular_values

_MAX_STEPS = 300


def operator_norm(
    apply: Callable[[Tensor], Tensor],
    apply_transposed: Callable[[Tensor], Tensor],
    start: Float[Tensor, " in"],
    *,
    tolerance: float = 1e-8,
) -> float:
    """Spectral norm by Golub-Kahan-Lanczos bidiagonalisation, fully reorthogonalised.

    Stops once the leading Ritz triplet's residual is below `tolerance` of its value, which bounds
    the relative error by `tolerance` (in practice it is the square of that), or after 300 steps,
    where the answer is a lower bound.

    Args:
        apply: x `[in]` to A x `[out]`.
        apply_transposed: y `[out]` to A^T y `[in]`.
        start: First direction, fp64; it must not be orthogonal to the leading right vector, so
            give random numbers from a fixed seed.
        tolerance: Relative residual to stop at.
    """
    v = start / start.norm()
    u = apply(v)
    alpha = float(u.norm())
    if alpha == 0.0:
        return 0.0
    us, vs = [u / alpha], [v]
    diagonal, above = [alpha], list[float]()
    best = alpha
    for step in range(1, _MAX_STEPS + 1):
        v = _clean(apply_transposed(us[-1]) - diagonal[-1] * vs[-1], vs)
        beta = float(v.norm())
        best, weight = _leading(diagonal, above)
        exhausted = beta <= 1e-14 * best or step == len(start)
        if exhausted or beta * weight <= tolerance * best:
            break
        vs.append(v / beta)
        u = _clean(apply(vs[-1]) - beta * us[-1], us)
        alpha = float(u.norm())
        above.append(beta)
        diagonal.append(alpha)
        if alpha <= 1e-14 * best:
            best, _ = _leading(diagonal, above)
            break
        us.append(u / alpha)
    return best


def spectral_norm(matrix: Float[Tensor, "out in"], *, tolerance: float = 1e-10) -> float:
    """Largest singular value of a matrix, computed in fp64.

    On a CPU from its Gram matrix: half a product and a reduction cost less than the passes over the
    matrix that Lanczos needs where the leading values lie close together.

    Args:
        matrix: `[out, in]`.
        tolerance: Of `operator_norm`, elsewhere.
    """
    wide = matrix.detach().double()
    if wide.device.type == "cpu":
        return float(singular_values(wide)[0])
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(wide.shape[1], generator=generator, dtype=torch.float64).to(wide.device)
    return operator_norm(wide.mv, wide.T.mv, start, tolerance=tolerance)


def _clean(x: Tensor, basis: list[Tensor]) -> Tensor:
    q = torch.stack(basis, dim=1)
    for _ in range(2):
        x = x - q @ (q.T @ x)
    return x


def _leading(diagonal: list[float], above: list[float]) -> tuple[float, float]:
    """Leading singular value of the bidiagonal matrix, and the last entry of its left vector."""
    b = torch.diag(torch.tensor(diagonal, dtype=torch.float64))
    if above:
        b += torch.diag(torch.tensor(above, dtype=torch.float64), 1)
    u, s, _ = torch.linalg.svd(b)
    return float(s[0]), abs(float(u[-1, 0]))
