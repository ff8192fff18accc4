"""Scores of single edits, their means, and how sure the means are.

CounterFact: ROME, arXiv 2202.05262, section 3.4; zsRE's token accuracy: MEND, arXiv 2110.11309,
and ROME, section 3.2; portability: arXiv 2305.13172; multi-hop questions: MQuAKE, arXiv 2305.14795.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from revive.metrics.editing import SCORE
from revive.metrics.outcomes import Outcomes

RESAMPLES = 1000
_T = TypeVar("_T")
_COVERED = 0.95
_SLICE = 100  # resamples held in memory at a time


@dataclass(frozen=True)
class EditScores:
    """Scores of n edits.

    Attributes:
        columns: By metric, `[n]` float64: the share, in [0, 1], of the edit's prompts of that kind
            that went well; NaN where it has none.
    """

    columns: Mapping[str, Tensor]

    @property
    def efficacy(self) -> Tensor:
        """`[n]`: 1 where the new target beats the true one on the edit's prompt."""
        return self.columns["efficacy"]

    @property
    def exact(self) -> Tensor:
        """`[n]`: 1 where the new target is the greedy continuation of the edit's prompt."""
        return self.columns["efficacy_exact"]

    def metrics(self) -> dict[str, float]:
        """Means over the edits that have such prompts, and the score; what none has is left out."""
        means = {name: float(c.nanmean()) for name, c in self.columns.items() if len(c)}
        present = {name: mean for name, mean in means.items() if mean == mean}
        if all(part in present for part in SCORE):
            present["score"] = harmonic_mean([present[part] for part in SCORE])
        return present

    def outcomes(self, ids: Sequence[str]) -> Outcomes:
        """The columns with the ids of their edits, for a run's folder."""
        return Outcomes.of(ids, {name: column.tolist() for name, column in self.columns.items()})

    def intervals(
        self, seed: int = 0, resamples: int = RESAMPLES
    ) -> dict[str, tuple[float, float]]:
        """95 % intervals of `metrics` by the percentile bootstrap over edits.

        Edits are what was drawn: prompts of one edit stand or fall together, so they are never
        resampled apart. Values that a resample leaves undefined do not count.

        Args:
            seed: Of the resamples.
            resamples: How many.
        """
        names = list(self.metrics())
        columns = [name for name in names if name in self.columns]
        if not columns:
            return {}
        drawn = bootstrap_means(torch.stack([self.columns[n] for n in columns], 1), seed, resamples)
        values = dict(zip(columns, drawn.T, strict=True))
        if "score" in names:
            parts = torch.stack([values[part] for part in SCORE])
            values["score"] = torch.where((parts <= 0).any(0), 0.0, len(SCORE) / (1 / parts).sum(0))
        edges = torch.tensor([(1 - _COVERED) / 2, (1 + _COVERED) / 2], dtype=torch.float64)
        found = {name: values[name].nanquantile(edges).tolist() for name in names}
        return {name: (low, high) for name, (low, high) in found.items()}


def bootstrap_means(values: Tensor, seed: int, resamples: int) -> Tensor:
    """Means of resampled rows, NaN left out.

    Args:
        values: `[n, metrics]`, float64.
        seed: Of the resamples.
        resamples: How many.

    Returns:
        `[resamples, metrics]`.
    """
    generator = torch.Generator().manual_seed(seed)
    known = values.isfinite()
    filled, present = values.where(known, 0.0), known.to(values.dtype)
    count = len(values)
    parts: list[Tensor] = []
    for first in range(0, resamples, _SLICE):
        size = min(_SLICE, resamples - first)
        picked = torch.randint(count, (size, count), generator=generator)
        times = torch.zeros(size, count, dtype=values.dtype)
        times.scatter_add_(1, picked, torch.ones_like(picked, dtype=values.dtype))
        parts.append((times @ filled) / (times @ present))
    return torch.cat(parts)


def harmonic_mean(values: Sequence[float]) -> float:
    """Harmonic mean of non-negative values; 0 if any is 0."""
    if min(values) <= 0:
        return 0.0
    return len(values) / sum(1 / v for v in values)


def shares(groups: Sequence[Sequence[_T]], value: Callable[[_T], float]) -> Tensor:
    """`[n]` mean of `value` over each group, values that are NaN left out; NaN of an empty one."""
    return torch.tensor([_share([value(item) for item in g]) for g in groups], dtype=torch.float64)


def _share(values: Sequence[float]) -> float:
    known = [v for v in values if v == v]
    return sum(known) / len(known) if known else float("nan")
