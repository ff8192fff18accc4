"""Small statistics of the studies: intervals, rank correlation, random pairings. No torch."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

Array = NDArray[np.float64]
Indices = NDArray[np.int64]
Interval = tuple[float, float]


@dataclass(frozen=True)
class ResampledEstimate:
    """A number, its 95 % interval, and how often the null does as well (None where not asked)."""

    value: float
    interval: Interval
    p: float | None = None


def spearman(a: Array, b: Array) -> float:
    """Rank correlation; ties share their mean rank; 0 where one does not vary."""
    ra, rb = rankdata(a), rankdata(b)
    if ra.std() == 0 or rb.std() == 0:
        return 0.0
    return float(np.mean((ra - ra.mean()) * (rb - rb.mean())) / (ra.std() * rb.std()))


def resampled(rng: np.random.Generator, groups: Sequence[str]) -> Indices:
    """A bootstrap draw: groups with replacement, and within each its members with replacement.

    Runs that differ in nothing but the seed are alike; to draw them as if they were independent
    would make every interval too short.
    """
    members = _members(groups)
    drawn = rng.integers(0, len(members), len(members))
    return np.concatenate([rng.choice(members[g], len(members[g])) for g in drawn])


def paired(rng: np.random.Generator, groups: Sequence[str]) -> Indices:
    """A null pairing: each group's members with those of a group drawn by a permutation.

    The permutation may leave groups in place, so p is that of a permutation test, and with few
    groups cannot be small.
    """
    members = _members(groups)
    found = np.empty(len(groups), dtype=np.int64)
    for mine, other in zip(members, rng.permutation(len(members)), strict=True):
        theirs = rng.permutation(members[other])
        found[mine] = np.resize(theirs, len(mine))
    return found


def _members(groups: Sequence[str]) -> list[Indices]:
    named = np.array(groups)
    return [np.flatnonzero(named == name) for name in dict.fromkeys(groups)]


def interval(values: Sequence[float], share: float = 0.95) -> Interval:
    """Percentile interval of bootstrap draws."""
    low, high = np.quantile(values, [(1 - share) / 2, (1 + share) / 2])
    return float(low), float(high)


def share_as_good(value: float, null: Sequence[float]) -> float:
    """p: how often the null does as well, the observed value counted among its draws."""
    return (1 + sum(x >= value - 1e-12 for x in null)) / (1 + len(null))
