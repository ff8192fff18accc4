"""Subspaces given by orthonormal columns: angles, overlap, random ones, and cheap tracking."""

import hashlib
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Triplets:
    """Approximate leading singular triplets.

    Attributes:
        u: `[out, k]`, orthonormal.
        s: `[k]`, descending.
        v: `[in, k]`, orthonormal.
        residual: max ||W^T u_i - s_i v_i|| as a share of s_1; W v_i = s_i u_i holds exactly.
    """

    u: Float[Tensor, "out k"]
    s: Float[Tensor, " k"]
    v: Float[Tensor, "in k"]
    residual: float


def principal_angles(a: Float[Tensor, "d k"], b: Float[Tensor, "d m"]) -> Float[Tensor, " n"]:
    """Principal angles between two subspaces, in radians, ascending, `min(k, m)` of them.

    Small angles are taken from their sines: an arccosine cannot tell angles below 1e-8 from zero
    (Björck and Golub 1973).
    """
    a, b = (a, b) if a.shape[1] >= b.shape[1] else (b, a)
    a, b = a.double(), b.double()
    inner = a.T @ b
    cosines = torch.linalg.svdvals(inner).clamp(max=1.0)
    sines = torch.linalg.svdvals(b - a @ inner).flip(0).clamp(max=1.0)
    return torch.where(cosines**2 > 0.5, sines.arcsin(), cosines.arccos())


def projector_overlap(a: Float[Tensor, "d k"], b: Float[Tensor, "d m"]) -> float:
    """||A^T B||_F^2 / k: the share of span(A) that lies in span(B); 1 for an empty A."""
    if a.shape[1] == 0:
        return 1.0
    return float((a.double().T @ b.to(a.device).double()).square().sum()) / a.shape[1]


def random_subspace(dim: int, k: int, seed: int, key: str) -> Float[Tensor, "dim k"]:
    """Orthonormal columns of a uniformly random subspace, fp64 on CPU.

    The same `seed` and `key` give the same subspace in every process.

    Raises:
        ValueError: `k` exceeds `dim`.
    """
    if k > dim:
        raise ValueError(f"A {dim}-dimensional space has no {k}-dimensional subspace.")
    digest = hashlib.sha256(f"{seed}|{key}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
    q, r = torch.linalg.qr(torch.randn(dim, k, generator=generator, dtype=torch.float64))
    # Without the sign of R's diagonal, Q is not uniformly distributed (Mezzadri 2007).
    return q * torch.where(r.diagonal() < 0, -1.0, 1.0)


def subspace_iteration(
    weight: Float[Tensor, "out in"], v0: Float[Tensor, "in m"], k: int, iters: int = 2
) -> Triplets:
    """Leading triplets of a weight from a guess of its right subspace.

    For a weight that changed a little since `v0` was found, a few steps stand in for an SVD; the
    residual says how well.

    Args:
        weight: `[out, in]`, computed in fp64.
        v0: Guess, orthonormal or not; columns beyond `k` speed up convergence.
        k: Triplets wanted.
        iters: Multiplications by W^T W.

    Raises:
        ValueError: `v0` has fewer than `k` columns.
    """
    if not 0 < k <= v0.shape[1]:
        raise ValueError(f"v0 has {v0.shape[1]} columns, which cannot give {k} triplets.")
    w = weight.double()
    v = torch.linalg.qr(v0.to(w))[0]
    for _ in range(iters):
        v = torch.linalg.qr(w.T @ torch.linalg.qr(w @ v)[0])[0]
    u, s, rotation = torch.linalg.svd(w @ v, full_matrices=False)
    u, s, v = u[:, :k], s[:k], (v @ rotation.T)[:, :k]
    scale = float(s[0])
    error = float((w.T @ u - v * s).norm(dim=0).max())
    return Triplets(u, s, v, error / scale if scale > 0 else 0.0)
