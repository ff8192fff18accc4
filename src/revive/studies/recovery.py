"""What a reconstruction says: how soon ability is back, and whether dominance holds. No torch.

Curves run over p from 0 (the weight is zero, recovered 0) to 1 (intact, recovered 1). Their area is
0.5 where every component is worth the same. Dominance *holds* for a measure where the top
components' area is above, and the bottom components' below, that of every random selection of equal
count, by more than a margin; it is *reversed* where both are the other way round; else it is *not
shown*.

Large singular values carry most of the energy, so that much follows from size alone. Whether top
components do better than others of the same energy, of which there are more, is told separately.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from revive.studies.reconstruct import Reconstruction, Selection

Curve = list[tuple[float, float]]
Dominance = Literal["holds", "reversed", "not shown", "no effect"]

LEAST = 0.02
"""Loss with the weights at zero, as a share of the intact value, below which nothing is told.

Nor is it where the loss may be chance: a test set's score moves by itself.
"""

MARGIN = 0.02
"""Difference of areas below which nothing is told."""


@dataclass(frozen=True)
class Recovery:
    """One measure over one selection of components.

    Attributes:
        selection: Which components.
        measure: Name of the ability.
        curves: One a seed: (p, recovered), with both ends.
    """

    selection: "Selection"
    measure: str
    curves: tuple[Curve, ...]

    def areas(self) -> list[float]:
        """Area under each curve; 0.5 where all components are worth the same."""
        return [area(c) for c in self.curves]

    def mean(self) -> Curve:
        """Mean over the seeds."""
        return [
            (points[0][0], fmean(r for _, r in points)) for points in zip(*self.curves, strict=True)
        ]

    def back_at(self, level: float) -> float:
        """The p from which on the mean stays at or above a level, linear between points."""
        return back_at(self.mean(), level)


def recovery(found: "Reconstruction", measure: str, selection: "Selection") -> Recovery:
    """Rescale one measure: 0 with the weights at zero, 1 intact."""
    low, high = found.zero[measure], found.intact[measure]
    rows = [row for row in found.rows if row.selection == selection]
    seeds = len(rows[0].values[measure]) if rows else 1

    def recovered(value: float) -> float:
        return (value - low) / (high - low) if high != low else math.nan

    curves = tuple(
        [(0.0, 0.0), *((r.share, recovered(r.values[measure][i])) for r in rows), (1.0, 1.0)]
        for i in range(seeds)
    )
    return Recovery(selection, measure, curves)


def dominance(found: "Reconstruction", measure: str) -> Dominance:
    """Whether large singular values carry this ability; see the module."""
    low, high = found.zero[measure], found.intact[measure]
    if not high - low > max(LEAST * abs(high), found.resolution.get(measure, 0.0)):
        return "no effect"
    top = recovery(found, measure, "top").areas()[0]
    bottom = recovery(found, measure, "bottom").areas()[0]
    chance = recovery(found, measure, "random, equal count").areas()
    if top > max(chance) + MARGIN and bottom < min(chance) - MARGIN:
        return "holds"
    if top < min(chance) - MARGIN and bottom > max(chance) + MARGIN:
        return "reversed"
    return "not shown"


def beyond_energy(found: "Reconstruction", measure: str) -> float:
    """Area of the top components less the largest of random ones of equal energy.

    Above 0, top components do better than their energy explains.
    """
    chance = recovery(found, measure, "random, equal energy").areas()
    return recovery(found, measure, "top").areas()[0] - max(chance)


def area(curve: Sequence[tuple[float, float]]) -> float:
    """By trapezoids."""
    return sum((p1 - p0) * (r0 + r1) / 2 for (p0, r0), (p1, r1) in itertools.pairwise(curve))


def back_at(curve: Sequence[tuple[float, float]], level: float) -> float:
    """The p from which on a curve stays at or above a level; NaN if it ends below."""
    found = math.nan
    for (p0, r0), (p1, r1) in zip(curve[-2::-1], curve[:0:-1], strict=True):
        if r1 < level:
            return found
        found = p1 if r0 >= level else p0 + (p1 - p0) * (level - r0) / (r1 - r0)
        if r0 < level:
            return found
        found = p0
    return found
