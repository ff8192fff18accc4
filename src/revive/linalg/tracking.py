"""The leading singular subspaces of a weight that changes from batch to batch, with an error bound.

Subspace iteration from the last subspaces stands in for a decomposition; the blocks it passes are
kept and searched together (a block Krylov space), for on the flat tail of a weight the last block
alone would need hundreds of steps. What is found is accepted only with a certificate. With
W V = U S exact, let
    E = W^T U - V S,   rest = ||(I - U U^T) W||_2 >= s_{k+1}(W)   (Eckart-Young);
then both subspaces are within asin(||E||_2 / (s_k - rest)) of the true ones (Wedin 1972). `rest`
also tells of a direction that the iteration has missed. Without the certificate the weight is
decomposed.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from revive.linalg.norm import operator_norm
from revive.linalg.svd import top_k_svd

# Blocks beyond the first, and restarts: all of it costs a fraction of a decomposition.
_DEPTH = 3
_EXACT_UP_TO = 1024
_ROUNDS = 3
# Relative residual of the norm outside; its error is about the square of that.
_REST = 1e-3
_FRESH = 4


@dataclass(frozen=True)
class Tracked:
    """The leading singular subspaces of a weight.

    Attributes:
        u: `[out, k]`, orthonormal, fp64.
        s: `[k]`, descending.
        v: `[in, k]`, orthonormal.
        guess: `[in, m]`, m > k where there is room: where to start for the next weight.
        error: Bound on the sine of the largest angle to the true subspaces, left or right;
            infinite where s_k = s_{k+1}, so that there is no such subspace.
        exact: Whether the weight was decomposed.
        values: `[min(out, in)]`, all singular values where it was; else None.
    """

    u: Float[Tensor, "out k"]
    s: Float[Tensor, " k"]
    v: Float[Tensor, "in k"]
    guess: Float[Tensor, "in m"]
    error: float
    exact: bool
    values: Float[Tensor, " min"] | None = None


def track(
    weight: Float[Tensor, "out in"],
    k: int,
    guess: Float[Tensor, "in m"] | None = None,
    *,
    tolerance: float = 1e-3,
    exact_up_to: int | None = None,
    rounds: int = _ROUNDS,
) -> Tracked:
    """Leading singular subspaces, by iteration where that is proven good, else exactly.

    Args:
        weight: `[out, in]`, any floating dtype; computed in fp64.
        k: Dimension of the subspaces, at least 1.
        guess: `Tracked.guess` of a similar weight; None decomposes.
        tolerance: Largest `error` that is accepted of an iteration.
        exact_up_to: Up to this smaller side a decomposition is taken to cost less than tracking;
            None for any on a CPU (`python -m benchmarks.follow`), and 1024 elsewhere.
        rounds: Searches, each from what the last one found, before the weight is decomposed.

    Raises:
        NumericalError: The weight holds NaN or infinity.
        ValueError: `k` out of range, or `guess` has fewer than `k` columns.
    """
    if not 0 < k <= min(weight.shape):
        raise ValueError(f"k is {k}; a {tuple(weight.shape)} weight has {min(weight.shape)}.")
    w = weight.detach().double()
    width = min(k + max(8, k // 4), *w.shape)
    if exact_up_to is None:
        exact_up_to = min(w.shape) if w.device.type == "cpu" else _EXACT_UP_TO
    if guess is None or min(w.shape) <= exact_up_to or not bool(torch.isfinite(w).all()):
        return _decomposed(w, k, width)
    v = _widened(guess.to(w), w.shape[1])
    for _ in range(rounds if v.shape[1] * (_DEPTH + 1) <= min(w.shape) else 0):
        wide_u, wide_s, v = _searched(w, v, width)
        u, s, right = wide_u[:, :k], wide_s[:k], v[:, :k]
        residual = float(torch.linalg.matrix_norm(w.T @ u - right * s, ord=2))
        # The next Ritz value is at most s_{k+1}: no use in a closer look if even this gap is short.
        if _sine(residual, float(s[-1] - wide_s[k])) > tolerance:
            continue
        error = _sine(residual, float(s[-1]) - _outside(w, u) * (1 + _REST))
        if error <= tolerance:
            return Tracked(u, s, right, v, error, exact=False)
    return _decomposed(w, k, width)


def _searched(w: Tensor, v: Tensor, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """The best `width` triplets with right vectors in the Krylov space of a block."""
    blocks = [torch.linalg.qr(v)[0]]
    for _ in range(_DEPTH):
        x = w.T @ (w @ blocks[-1])
        found = torch.cat(blocks, dim=1)
        for _ in range(2):
            x = x - found @ (found.T @ x)
        blocks.append(torch.linalg.qr(x)[0])
    # Where a block was exhausted its QR invents directions: one more makes all of them orthonormal.
    q = torch.linalg.qr(torch.cat(blocks, dim=1))[0]
    u, s, rotation = torch.linalg.svd(w @ q, full_matrices=False)
    return u[:, :width], s[:width], q @ rotation[:width].T


def _decomposed(w: Tensor, k: int, width: int) -> Tracked:
    top = top_k_svd(w, width)
    following = float(top.s[k]) if len(top.s) > k else 0.0
    error = _sine(top.residual * float(top.s[0]), float(top.s[k - 1]) - following)
    return Tracked(top.u[:, :k], top.s[:k], top.v[:, :k], top.v, error, exact=True, values=top.s)


def _widened(guess: Tensor, dim: int) -> Tensor:
    """The guess and a few random directions: what is new need not be near what was dominant."""
    fresh = min(_FRESH, dim - guess.shape[1])
    generator = torch.Generator().manual_seed(guess.shape[1])
    random = torch.randn(dim, fresh, generator=generator, dtype=torch.float64)
    return torch.cat([guess, random.to(guess)], dim=1)


def _outside(w: Tensor, u: Tensor) -> float:
    """||(I - U U^T) W||_2."""

    def apply(x: Tensor) -> Tensor:
        y = w @ x
        return y - u @ (u.T @ y)

    def apply_transposed(y: Tensor) -> Tensor:
        return w.T @ (y - u @ (u.T @ y))

    generator = torch.Generator().manual_seed(0)
    start = torch.randn(w.shape[1], generator=generator, dtype=torch.float64).to(w.device)
    return operator_norm(apply, apply_transposed, start, tolerance=_REST)


def _sine(residual: float, gap: float) -> float:
    return residual / gap if gap > 0 else float("inf")
