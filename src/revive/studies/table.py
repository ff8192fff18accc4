"""A study's result as a table of text. No torch."""

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

from revive.studies.resampling import ResampledEstimate
from revive.wording import cell


@dataclass(frozen=True)
class StudyTable:
    """A table as text.

    Attributes:
        title: What it shows.
        note: How to read it.
        header: Names of the columns.
        rows: Cells.
    """

    title: str
    note: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def markdown(self) -> str:
        """The table in Markdown."""
        lines = [f"**{self.title}**", "", self.note, ""]
        lines += [_line(self.header), _line(("---",) * len(self.header))]
        return "\n".join([*lines, *map(_line, self.rows)]) + "\n"

    def csv(self) -> str:
        """The table as comma-separated values."""
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerows(map(cell, row) for row in (self.header, *self.rows))
        return buffer.getvalue()


def estimate_text(found: ResampledEstimate, digits: int = 3) -> str:
    """Value [95 % interval]; the value alone where the interval is unbounded."""
    value = f"{found.value:+.{digits}f}"
    low, high = found.interval
    if not (math.isfinite(low) and math.isfinite(high)):
        return value
    return f"{value} [{low:+.{digits}f}, {high:+.{digits}f}]"


def range_text(values: Sequence[float], digits: int = 2) -> str:
    """Mean (smallest to largest) of several values, or the one value."""
    mean = sum(values) / len(values)
    if len(values) == 1:
        return f"{mean:.{digits}f}"
    return f"{mean:.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
