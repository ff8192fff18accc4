"""The leading singular triplets of a weight.

W = sum_i s_i u_i v_i^T. The fast way goes over the smaller Gram matrix in fp64: all singular
values, which a share of their sum asks for, and the leading vectors of one side alone (see
`linalg.eigen`); the other side follows by u = W v / s. A Gram matrix squares the condition number,
so its result is checked and, where it is not good enough, replaced by a full SVD. What is accepted
spans the dominant subspaces to within a sine of sqrt(2 k) residual s_1 / (s_k - s_{k+1}) (Davis
and Kahan 1970).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from revive.errors import NumericalError
from revive.linalg.eigen import leading_eigenvectors
from revive.linalg.energy import rank_for_energy

Method = Literal["auto", "gram", "full"]
Choice = Callable[[Tensor], int]

# Below this share of s_1 the Gram matrix no longer resolves a singular value (eps^(1/2) is 1.5e-8).
_GRAM_FLOOR = 1e-6
# Healthy weights give 1e-13; at this residual the full SVD is worth its time.
_GRAM_RESIDUAL = 1e-10


@dataclass(frozen=True)
class TopSVD:
    """Leading singular triplets, fp64.

    Attributes:
        u: `[out, k]`, orthonormal columns.
        s: All `min(out, in)` singular values, descending.
        v: `[in, k]`, orthonormal columns.
        residual: Largest of ||W v_i - s_i u_i|| and ||W^T u_i - s_i v_i|| over i <= k, as a share
            of s_1.
        method: How the triplets were found.
    """

    u: Float[Tensor, "out k"]
    s: Float[Tensor, " min"]
    v: Float[Tensor, "in k"]
    residual: float
    method: Literal["gram", "full"]

    @property
    def rank(self) -> int:
        """Number k of triplets held."""
        return self.u.shape[1]


def top_k_svd(
    weight: Float[Tensor, "out in"],
    k: int | None = None,
    *,
    energy: float | None = None,
    choose: Choice | None = None,
    method: Method = "auto",
) -> TopSVD:
    """Leading singular triplets, by count, by energy, or by any rule on the singular values.

    Args:
        weight: `[out, in]`, any floating dtype; computed in fp64 on its device.
        k: Number of triplets.
        energy: Share of the summed singular values instead of `k` (see `rank_for_energy`).
        choose: Gives the number of triplets from all singular values, descending, instead.
        method: `gram` is fast and unchecked but for its residual; `full` is the truth; `auto`
            takes `gram` unless its residual exceeds 1e-10 or s_k < 1e-6 s_1.

    Raises:
        NumericalError: The weight holds NaN or infinity.
        ValueError: Not exactly one of `k`, `energy` and `choose`, or `k` out of range.
    """
    if sum(x is not None for x in (k, energy, choose)) != 1:
        raise ValueError("top_k_svd needs k or energy (or choose), and not both.")
    if k is not None and not 0 <= k <= min(weight.shape):
        raise ValueError(
            f"k is {k}; a {tuple(weight.shape)} matrix has {min(weight.shape)} triplets."
        )
    if not bool(torch.isfinite(weight).all()):
        raise NumericalError(
            f"a weight of shape {tuple(weight.shape)} holds NaN or infinity, so it has no singular "
            "values; reload the checkpoint, or load it in fp32 if it overflowed in half precision."
        )
    w = weight.detach().double()
    count = choose or _chosen_by(k, energy, tuple(w.shape))
    if method == "full":
        return _full(w, count)
    # Energy 1 asks which singular values are zero: only a resolved last one can tell.
    fast, trusted = _gram(w, count, all_matter=energy == 1.0)
    if method == "gram" or (trusted and fast.residual <= _GRAM_RESIDUAL):
        return fast
    return _full(w, count)


def _chosen_by(k: int | None, energy: float | None, shape: tuple[int, ...]) -> Choice:
    def count(s: Tensor) -> int:
        return k if k is not None else rank_for_energy(s, energy or 0.0, shape)

    return count


def _gram(w: Tensor, choose: Choice, *, all_matter: bool) -> tuple[TopSVD, bool]:
    """The Gram way, and whether the singular values it relies on are resolved."""
    tall = w.shape[0] > w.shape[1]
    a = w.T if tall else w
    s = torch.empty(0)

    def count(values: Tensor) -> int:
        nonlocal s
        s = values.clamp(min=0.0).sqrt()
        return choose(s)

    small = leading_eigenvectors(a, count).vectors
    k = small.shape[1]
    lowest = len(s) if all_matter else k
    trusted = lowest == 0 or float(s[lowest - 1]) >= _GRAM_FLOOR * float(s[0])
    reached = a.T @ small
    other = _orthonormal(reached / s[:k].clamp(min=torch.finfo(s.dtype).tiny))
    residual = _share(s, reached - other * s[:k], a @ other - small * s[:k])
    u, v = (other, small) if tall else (small, other)
    return TopSVD(u, s, v, residual, "gram"), trusted


def _full(w: Tensor, choose: Choice) -> TopSVD:
    u, s, vh = torch.linalg.svd(w, full_matrices=False)
    count = choose(s)
    u, v = u[:, :count].contiguous(), vh[:count].T.contiguous()
    residual = _share(s, w @ v - u * s[:count], w.T @ u - v * s[:count])
    return TopSVD(u, s, v, residual, "full")


def _orthonormal(columns: Tensor) -> Tensor:
    """Orthonormal columns nearest in order: QR with the signs of the input."""
    q, r = torch.linalg.qr(columns)
    return q * torch.where(r.diagonal() < 0, -1.0, 1.0)


def _share(s: Tensor, *errors: Tensor) -> float:
    """The longest column of any of the errors, as a share of s_1."""
    if errors[0].shape[1] == 0 or float(s[0]) == 0.0:
        return 0.0
    return max(float(e.norm(dim=0).max()) for e in errors) / float(s[0])
