"""Which measure moves first? Leads and lagged correlations over many runs. No torch.

Three questions, each with its own answer:

*Lead*: a measure has made half of its way when it first lies half-way between its unedited and its
last value. The lead over ability is by how many edits it does so earlier. A measure that is worn
out by the first batch leads by much and foretells nothing: read it with the other two.

*Moves together*: correlation, within a run, of the measure's increments with those of ability so
many edits later, both standardised within the run, pooled over runs; of all lags the one with the
largest absolute correlation. Increments, because two levels that both drift correlate always.

*Foretells*: correlation over runs, at the same number of edits, of the measure with the ability so
many edits later (Spearman's, mean over the times). Here the shared timetable of all runs drops out.

Intervals are 95 % percentile bootstraps over groups of runs and runs within them. The null control
pairs the measure of each group's runs with the ability of another's; p is the share of pairings
that do as well.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from revive.studies.drift_study.traces import Trace
from revive.studies.resampling import (
    Array,
    Indices,
    ResampledEstimate,
    interval,
    paired,
    resampled,
    share_as_good,
    spearman,
)

LOGARITHMIC = ("tail_ratio", "weight_norm_ratio", "update_norm", "update_stable_rank", "perplexity")
"""Measures without an upper end, taken as logarithms."""


@dataclass(frozen=True)
class Settings:
    """How the resampling is done.

    Attributes:
        width: Edits over which an increment is taken; the target's measuring interval.
        lags: Edits by which the target comes later; negative if it comes first.
        ahead: Edits ahead for the correlation over runs.
        draws: Bootstrap draws, and pairings of the null.
        seed: Of both.
    """

    width: int
    lags: tuple[int, ...]
    ahead: int
    draws: int = 1000
    seed: int = 0


@dataclass(frozen=True)
class LeadLag:
    """One measure against one target.

    Attributes:
        measure: Name.
        target: Name.
        runs: Number of runs that have both.
        lead: Edits by which the measure makes half of its way earlier; None if it never moves.
        lag: Edits by which the target's increments follow the measure's, at the best lag; None
            where no run has enough increments.
        together: The correlation there; its p takes the choice of the lag into account.
        foretells: Correlation over runs with the target `ahead` edits later; None with fewer than
            four runs.
    """

    measure: str
    target: str
    runs: int
    lead: ResampledEstimate | None
    lag: ResampledEstimate | None
    together: ResampledEstimate | None
    foretells: ResampledEstimate | None

    def leads(self) -> bool:
        """The verdict: its increments come first, beyond what chance and choice explain."""
        if self.lag is None or self.together is None:
            return False
        return self.lag.interval[0] > 0 and (self.together.p or 0.0) < 0.05


def lead_lag(
    traces: Sequence[Trace], measure: str, target: str, settings: Settings
) -> LeadLag | None:
    """Compare one measure with one target over runs; None where fewer than two have both."""
    runs = [t for t in traces if len(t.values.get(measure, {})) > 2 and target in t.values]
    if len(runs) < 2:
        return None
    xs, ys = [_values(t, measure) for t in runs], [_values(t, target) for t in runs]
    every = np.arange(len(runs))
    rng = np.random.default_rng(settings.seed)
    groups = [t.group for t in runs]
    boots = [resampled(rng, groups) for _ in range(settings.draws)]
    pairings = [paired(rng, groups) for _ in range(settings.draws)]
    # A table of sums per (run of x, run of y) makes each draw a matter of adding up.
    sums = np.array([[_products(x, y, settings) for y in ys] for x in xs])
    lags = np.array(settings.lags)

    def best(a: Indices, b: Indices) -> tuple[float, float]:
        total = sums[a, b].sum(axis=0)
        r = np.divide(total[:, 0], total[:, 1], out=np.zeros(len(lags)), where=total[:, 1] > 0)
        at = int(np.argmax(np.abs(r)))
        return float(lags[at]), float(r[at])

    lag = together = None
    if bool(sums[..., 1].any()):
        at, r = best(every, every)
        drawn = [best(b, b) for b in boots]
        null = [abs(best(every, p)[1]) for p in pairings]
        lag = ResampledEstimate(at, interval([d[0] for d in drawn]))
        together = ResampledEstimate(
            r, interval([d[1] for d in drawn]), share_as_good(abs(r), null)
        )
    return LeadLag(
        measure=measure,
        target=target,
        runs=len(runs),
        lead=_lead(xs, ys, boots),
        lag=lag,
        together=together,
        foretells=_foretells(xs, ys, settings.ahead, boots, pairings),
    )


def _values(trace: Trace, name: str) -> dict[int, float]:
    found = trace.values[name]
    if name not in LOGARITHMIC:
        return found
    return {n: float(np.log(v)) for n, v in found.items() if v > 0}


def _products(x: dict[int, float], y: dict[int, float], settings: Settings) -> list[list[float]]:
    """By lag: sum of products of standardised increments, and their number."""
    rows: list[list[float]] = []
    w = settings.width
    for lag in settings.lags:
        at = [n for n in y if n - w in y and n - lag in x and n - lag - w in x]
        dx = np.array([x[n - lag] - x[n - lag - w] for n in at])
        dy = np.array([y[n] - y[n - w] for n in at])
        # A correlation of fewer than four increments is a matter of chance.
        if len(at) < 4 or dx.std() == 0 or dy.std() == 0:
            rows.append([0.0, 0.0])
            continue
        r = float(np.mean((dx - dx.mean()) * (dy - dy.mean())) / (dx.std() * dy.std()))
        rows.append([r * len(at), float(len(at))])
    return rows


def _lead(
    xs: Sequence[dict[int, float]],
    ys: Sequence[dict[int, float]],
    boots: Sequence[Indices],
) -> ResampledEstimate | None:
    found = [(half_way(x), half_way(y)) for x, y in zip(xs, ys, strict=True)]
    if any(a is None or b is None for a, b in found):
        return None
    leads = np.array([b - a for a, b in found if a is not None and b is not None])
    means = [float(leads[boot].mean()) for boot in boots]
    return ResampledEstimate(float(leads.mean()), interval(means))


def half_way(series: dict[int, float]) -> float | None:
    """Edits at which half of the way from first to last value is made; None if there is no way."""
    edits = sorted(series)
    first, last = series[edits[0]], series[edits[-1]]
    if first == last:
        return None
    done = [(series[n] - first) / (last - first) for n in edits]
    i = next(i for i, part in enumerate(done) if part >= 0.5)
    step = (0.5 - done[i - 1]) / (done[i] - done[i - 1])
    return edits[i - 1] + step * (edits[i] - edits[i - 1])


def _foretells(
    xs: Sequence[dict[int, float]],
    ys: Sequence[dict[int, float]],
    ahead: int,
    boots: Sequence[Indices],
    pairings: Sequence[Indices],
) -> ResampledEstimate | None:
    common = [n for n in xs[0] if n and all(n in x for x in xs) and all(n + ahead in y for y in ys)]
    if len(xs) < 4 or not common:
        return None
    a = np.array([[x[n] for n in common] for x in xs])
    b = np.array([[y[n + ahead] for n in common] for y in ys])

    def mean(first: Array, second: Array) -> float:
        return float(np.mean([spearman(first[:, i], second[:, i]) for i in range(len(common))]))

    value = mean(a, b)
    drawn = [mean(a[boot], b[boot]) for boot in boots]
    null = [abs(mean(a, b[pairing])) for pairing in pairings]
    return ResampledEstimate(value, interval(drawn), share_as_good(abs(value), null))
