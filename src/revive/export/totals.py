"""What a run has written in all, as low-rank factors."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from revive.linalg.lowrank import LowRank
from revive.linalg.svd import top_k_svd
from revive.models.ledger import Ledger
from revive.run_folder.journal import Journal
from revive.run_folder.store import RunFolder
from revive.runs.rebuild import RebuiltModel
from revive.runs.replay import BatchContents, standing_updates

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


def totals(
    ledger: Ledger, rank: int | None = None, factors: Mapping[str, LowRank] | None = None
) -> dict[str, Total]:
    """Of every weight of a ledger, and every expert that was written to.

    Args:
        ledger: Holds the sums.
        rank: At most so many columns; None for as many as the sum needs.
        factors: Of sums that are known as products of few columns, by key; those are decomposed
            by way of their factors, and no matrix of the weight's size is.
    """
    found: dict[str, Total] = {}
    known = factors or {}
    for key in ledger.used:
        u, s, v = _decomposed(ledger.delta(key), known.get(key))
        full = u.shape[1]
        kept = full if rank is None else min(rank, full)
        root = s[:kept].sqrt()
        left, right = u[:, :kept] * root, root[:, None] * v[:, :kept].T
        norm = float(s.norm())
        left_out = float(s[kept:].norm()) / norm if norm > 0 and kept < full else 0.0
        found[key] = Total(LowRank(left.to(torch.float32), right.to(torch.float32)), left_out)
    return found


def written_factors(folder: Path, rebuilt: RebuiltModel) -> dict[str, LowRank]:
    """What a run's updates add up to, as they are stored, where that is of low rank.

    Args:
        folder: The run folder.
        rebuilt: Its model at some batch.

    Raises:
        DamagedError: An update is missing or damaged.
    """
    run = RunFolder.open(folder)
    contents = BatchContents.of(Journal.read(run.journal))
    sums: dict[str, LowRank] = {}
    large: set[str] = set()
    for step in range(1, rebuilt.step + 1):
        for key, update in standing_updates(run, contents, step).items():
            if key in large:
                continue
            sums[key] = sums[key] + update if key in sums else update
            if sums[key].rank > min(sums[key].shape) // 2:
                # From here on the sum itself is the smaller of the two.
                large.add(key)
                del sums[key]
    return sums


def _decomposed(delta: Tensor, factors: LowRank | None) -> tuple[Tensor, Tensor, Tensor]:
    """`u [d_out, k]`, all singular values, `v [d_in, k]`, with k those that are not rounding."""
    if factors is None:
        top = top_k_svd(delta, choose=_count)
        return top.u, top.s, top.v
    u, s, vh = factors.svd()
    count = _count(s)
    return u[:, :count], s, vh[:count].T


def _count(s: Tensor) -> int:
    return int((s > _ROUNDING * s[0]).sum()) if len(s) else 0
