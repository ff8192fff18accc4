"""Is one run better than another? The same edits, measured in both, compared edit by edit.

Two runs over one stream share their edits, and an edit that is hard is hard in both: a difference
of paired values has a far smaller error than the two shares have, and only the pairs say so.
The interval is a percentile bootstrap over edits, p a two-sided permutation test in which each
edit's two outcomes may have been swapped; both are of the metric itself, so that they hold for the
harmonic mean too. Draws are seeded: the same runs give the same numbers.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from revive.metrics.editing import SCORE
from revive.metrics.outcomes import Column, Outcomes

Array = Column

DRAWS = 2000
ALPHA = 0.05
"""Differences with a larger p are said to be within noise."""

_CHUNK = 200  # draws at a time, so that a long stream needs no more than a few dozen MB


@dataclass(frozen=True, slots=True)
class Paired:
    """How far two runs are apart in one metric.

    Attributes:
        metric: Its name.
        edits: Edits measured in both.
        difference: First run's value less the second's, over those edits.
        low: Lower end of the 95 % interval of the difference.
        high: Upper end.
        p: How often swapping outcomes at random gives a difference as large; two-sided.
    """

    metric: str
    edits: int
    difference: float
    low: float
    high: float
    p: float

    @property
    def within_noise(self) -> bool:
        """Whether the difference may well be chance."""
        return self.p > ALPHA


def compare_outcomes(
    first: Outcomes, second: Outcomes, *, draws: int = DRAWS, seed: int = 0
) -> list[Paired]:
    """Compare two runs in every metric that both have, over the edits that both measured.

    Args:
        first: Of one run.
        second: Of the other.
        draws: Of the bootstrap and of the permutation test.
        seed: Of the draws.

    Returns:
        One comparison a metric; empty where the runs share no edit.
    """
    place = {edit: i for i, edit in enumerate(second.ids)}
    shared = [(i, place[edit]) for i, edit in enumerate(first.ids) if edit in place]
    if not shared:
        return []
    common = [name for name in _metrics(first) if name in _metrics(second)]
    found: list[Paired] = []
    for name in common:
        a = _rows(first, name, [i for i, _ in shared])
        b = _rows(second, name, [j for _, j in shared])
        # An edit that one run could not be asked says nothing of the difference.
        usable = np.isfinite(a).any(axis=0) & np.isfinite(b).any(axis=0)
        if usable.any():
            found.append(_compare(name, a[:, usable], b[:, usable], draws, seed))
    return found


def _metrics(outcomes: Outcomes) -> list[str]:
    """What can be compared, the score among it where its parts are there."""
    known = [name for name, column in outcomes.columns.items() if bool(np.isfinite(column).any())]
    return [*known, "score"] if set(SCORE) <= set(known) else known


def _rows(outcomes: Outcomes, metric: str, order: Sequence[int]) -> Array:
    """`[columns, edits]`: what the metric is computed from, for the chosen edits."""
    names = SCORE if metric == "score" else (metric,)
    return np.stack([outcomes.columns[name] for name in names])[:, list(order)]


def _compare(name: str, a: Array, b: Array, draws: int, seed: int) -> Paired:
    count = a.shape[1]
    rng = np.random.default_rng(seed)
    observed = float(_metric(a) - _metric(b))

    def resample(n: int) -> Array:
        chosen = rng.integers(0, count, (n, count))
        return _metric(a[:, chosen]) - _metric(b[:, chosen])

    def swap(n: int) -> Array:
        swapped = rng.random((n, count)) < 0.5
        wide_a, wide_b = a[:, None, :], b[:, None, :]
        return _metric(np.where(swapped, wide_b, wide_a)) - _metric(
            np.where(swapped, wide_a, wide_b)
        )

    low, high = np.nanquantile(_drawn(resample, draws), [0.025, 0.975])
    null = np.abs(_drawn(swap, draws))
    # The observed assignment is one of those that are possible: p is never 0.
    p = (1 + int((null >= abs(observed) - 1e-12).sum())) / (1 + draws)
    return Paired(name, count, observed, float(low), float(high), p)


def _drawn(draw: Callable[[int], Array], draws: int) -> Array:
    sizes = [min(_CHUNK, draws - done) for done in range(0, draws, _CHUNK)]
    return np.concatenate([draw(size) for size in sizes])


def _metric(columns: Array) -> Array:
    """`[columns, ..., edits]` -> `[...]`: a mean over edits, or the harmonic mean of the means."""
    known = np.isfinite(columns)
    count = known.sum(axis=-1)
    means = np.where(known, columns, 0.0).sum(axis=-1) / np.maximum(count, 1)
    means = np.where(count > 0, means, np.nan)
    if len(means) == 1:
        return means[0]
    positive = (means > 0).all(axis=0)
    safe = np.where(means > 0, means, 1.0)
    return np.where(positive, len(means) / (1 / safe).sum(axis=0), 0.0)
