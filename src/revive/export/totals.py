"""What a run has written in all, as low-rank factors."""

from dataclasses import dataclass

import torch

from revive.linalg.lowrank import LowRank
from revive.linalg.svd import top_k_svd
from revive.models.ledger import Ledger

# fp32 sums are good to about this share of their largest singular value.
_ROUNDING = 1e-6


@dataclass(frozen=True)
class Total:
    """The sum of all updates of one weight.

    Attributes:
        factors: Its best approximation of the rank asked for, fp32; left and right share the
            singular values evenly.
        error: Frobenius norm of what the factors leave out, over the sum's; 0 where rank allows.
    """

    factors: LowRank
    error: float


def totals(ledger: Ledger, rank: int | None = None) -> dict[str, Total]:
    """Of every weight of a ledger, and every expert that was written to.

    Args:
        ledger: Holds the sums.
        rank: At most so many columns; None for as many as the sum needs.
    """
    found: dict[str, Total] = {}
    for key in ledger.used:
        delta = ledger.delta(key)
        top = top_k_svd(delta, choose=lambda s: int((s > _ROUNDING * s[0]).sum()))
        kept = top.rank if rank is None else min(rank, top.rank)
        root = top.s[:kept].sqrt()
        left, right = top.u[:, :kept] * root, root[:, None] * top.v[:, :kept].T
        norm = float(top.s.norm())
        left_out = float(top.s[kept:].norm()) / norm if norm > 0 and kept < top.rank else 0.0
        factors = LowRank(left.to(torch.float32), right.to(torch.float32))
        found[key] = Total(factors, left_out)
    return found
