"""What a metric is: its name, its unit, which way is better, and how it is printed."""

import math
from dataclasses import dataclass
from typing import Literal

OURS = "ours"

Direction = Literal["higher", "lower", "none"]
Unit = Literal["share", "ratio", "points", "s", "count", "none"]


@dataclass(frozen=True, slots=True)
class Metric:
    """One measured quantity.

    Attributes:
        name: Key in `summary.json`; with `*` it stands for every key of that form.
        title: Name for people, short enough for a table head.
        definition: One sentence without the name.
        unit: `share` lies in [0, 1]; `ratio` is relative to the unedited model or weight.
        direction: Which way is better.
        source: Where the definition comes from.
        proportion: Whether it is a share of edits, so that a binomial interval applies.
    """

    name: str
    title: str
    definition: str
    unit: Unit
    direction: Direction
    source: str
    proportion: bool = False

    @property
    def axis(self) -> str:
        """Axis label with the unit."""
        units = {"share": "share", "ratio": "ratio", "points": "points", "s": "s"}
        unit = units.get(self.unit)
        return f"{self.title} [{unit}]" if unit else self.title

    def format(self, value: float | None) -> str:
        """The value as text; a dash if it was not measured."""
        if value is None:
            return "–"
        if math.isnan(value):
            return "NaN"
        if math.isinf(value):
            return "∞" if value > 0 else "-∞"
        if self.unit == "s":
            return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}"
        if self.unit == "count":
            return f"{value:,.0f}"
        if abs(value) >= 10_000:
            return f"{value:.1e}"
        if abs(value) >= 100:
            return f"{value:,.0f}"
        if abs(value) >= 10:
            return f"{value:.1f}"
        return f"{value:.3f}" if self.unit == "share" else f"{value:.2f}"
