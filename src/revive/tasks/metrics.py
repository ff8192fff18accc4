"""Accuracy, F1 and their intervals. No torch."""

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Interval = tuple[float, float]
Counts = NDArray[np.int64]

_Z = 1.959963984540054  # 97.5 % quantile of the standard normal
_DRAWS = 1000
_LARGEST = 700.0  # nats; exp of more is not a double
_NOTHING = -1
"""Predicted class where no answer could be read."""


def wilson(right: int, count: int) -> Interval:
    """95 % score interval of a share (Wilson 1927)."""
    if count < 1:
        raise ValueError("wilson: the share of no items has no interval")
    share, spread = right / count, _Z**2 / count
    middle = (share + spread / 2) / (1 + spread)
    half = _Z * math.sqrt(share * (1 - share) / count + spread / (4 * count)) / (1 + spread)
    return max(0.0, middle - half), min(1.0, middle + half)


def confusion(truth: Sequence[int], said: Sequence[int | None], classes: int) -> Counts:
    """Counts `[truth, said]`; the last column holds the unreadable."""
    table = np.zeros((classes, classes + 1), dtype=np.int64)
    for true, answer in zip(truth, said, strict=True):
        table[true, _NOTHING if answer is None else answer] += 1
    return table


def f1_by_class(table: Counts) -> NDArray[np.float64]:
    """F1 of every class; 0 where a class is neither there nor said, as scikit-learn has it."""
    square = table[:, :-1]
    hits = np.diag(square).astype(float)
    total = table.sum(axis=1) + square.sum(axis=0)
    return np.divide(2 * hits, total, out=np.zeros_like(hits), where=total > 0)


def f1_weighted(table: Counts) -> float:
    """Mean of the classes' F1, weighted by how often each is the truth."""
    support = table.sum(axis=1)
    return float((f1_by_class(table) * support).sum() / support.sum())


def f1_macro(table: Counts) -> float:
    """Plain mean of the classes' F1. Unreadable answers are wrong but no class of their own."""
    return float(f1_by_class(table).mean())


def f1_interval(table: Counts, score: Callable[[Counts], float], seed: int = 0) -> Interval:
    """95 % bootstrap interval of a score of a table: items are drawn with replacement."""
    rng = np.random.default_rng(seed)
    count = int(table.sum())
    drawn = rng.multinomial(count, table.reshape(-1) / count, size=_DRAWS)
    return _percentiles([score(draw.reshape(table.shape)) for draw in drawn])


def perplexity_interval(nll: Sequence[float], seed: int = 0) -> Interval:
    """95 % bootstrap interval of exp of a mean; nats."""
    rng = np.random.default_rng(seed)
    values = np.asarray(nll, dtype=float)
    means = [values[rng.integers(0, len(values), len(values))].mean() for _ in range(_DRAWS)]
    return _percentiles(np.exp(np.clip(means, None, _LARGEST)).tolist())


def perplexity(nll: Sequence[float]) -> float:
    """Exp of a mean, nats; infinite rather than an overflow for a wrecked model."""
    mean = float(np.mean(nll))
    return math.exp(mean) if mean < _LARGEST else math.inf


def majority(truth: Sequence[int]) -> int:
    """The most frequent class; the first of equals."""
    return int(np.bincount(np.asarray(truth)).argmax())


def _percentiles(values: Sequence[float]) -> Interval:
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)
