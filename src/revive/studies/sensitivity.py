"""What a perturbation study says: how sensitive each band is, and in which order. No torch.

Order is the Spearman rank correlation, over the bands, of a band's mean singular value with the
ability lost to noise in it; once for every draw of noise and level, so that its mean has a Student
interval over independent draws. *Larger* singular values are the sensitive ones where the interval
is above 0, *smaller* ones where it is below; else *no order* is shown. An interval covers the noise
that was drawn, not the choice of the model or the bands.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy import stats

from revive.studies.resampling import Interval, ResampledEstimate, spearman

if TYPE_CHECKING:
    from revive.studies.perturb import BandNoise, Perturbation, Setting

Order = Literal["larger", "smaller", "no order"]


@dataclass(frozen=True)
class Trend:
    """How loss goes with the singular value, under one way of making noise.

    Attributes:
        setting: How noise was made.
        measure: Name of the ability.
        correlation: Rank correlation over bands, mean over draws and levels.
        top: Loss in the band of the largest singular values, largest level of noise.
        bottom: Loss in the band of the smallest, likewise.
        isotropic: Loss to isotropic noise, likewise.
    """

    setting: "Setting"
    measure: str
    correlation: ResampledEstimate
    top: ResampledEstimate
    bottom: ResampledEstimate
    isotropic: ResampledEstimate

    @property
    def order(self) -> Order:
        """Which singular values are the sensitive ones."""
        low, high = self.correlation.interval
        return "larger" if low > 0 else "smaller" if high < 0 else "no order"


def trends(found: "Perturbation", measure: str) -> list[Trend]:
    """Of every way of making noise."""
    settings = dict.fromkeys(row.setting for row in found.rows if row.setting is not None)
    return [_trend(found, setting, measure) for setting in settings]


def loss(row: "BandNoise", measure: str) -> ResampledEstimate:
    """Mean loss over the draws of noise, with a Student 95 % interval."""
    return mean_of(row.losses[measure])


def mean_of(values: Sequence[float]) -> ResampledEstimate:
    """Mean with a Student 95 % interval; unbounded for fewer than two values."""
    mean = fmean(values)
    return ResampledEstimate(mean, student(values))


def student(values: Sequence[float]) -> Interval:
    """95 % interval of a mean of independent values."""
    if len(values) < 2 or not all(map(math.isfinite, values)):
        return -math.inf, math.inf
    half = float(stats.t.ppf(0.975, len(values) - 1)) * stdev(values) / math.sqrt(len(values))
    return fmean(values) - half, fmean(values) + half


def _trend(found: "Perturbation", setting: "Setting", measure: str) -> Trend:
    rows = [row for row in found.rows if row.setting == setting]
    control = [r for r in found.rows if r.setting is None and r.scaling == setting.scaling]
    levels = sorted({row.level for row in rows})
    correlations: list[float] = []
    for level in levels:
        bands = [row for row in rows if row.level == level]
        singular = np.array([row.singular or 0.0 for row in bands])
        for draw in zip(*(row.losses[measure] for row in bands), strict=True):
            correlations.append(spearman(singular, np.array(draw)))
    last = [row for row in rows if row.level == levels[-1]]
    same = next(row for row in control if row.level == levels[-1])
    return Trend(
        setting,
        measure,
        mean_of(correlations),
        loss(last[0], measure),
        loss(last[-1], measure),
        loss(same, measure),
    )
