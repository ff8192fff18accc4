"""The frontier: edit success over general ability kept, every arm a path through the stream."""

import math
from collections.abc import Sequence

from matplotlib.axes import Axes

from revive.report.figures.palette import INK, style
from revive.report.figures.svg import inline, panel
from revive.report.reading.load import RunRecord


def frontier_panel(records: Sequence[RunRecord]) -> str | None:
    """Edit success over ability kept: a path an arm, its end marked; None if not measured."""
    paths = [(i, r, _path(r)) for i, r in enumerate(records)]
    drawn = [(i, r, path) for i, r, path in paths if path]
    if not drawn:
        return None
    with panel("Edit success and ability kept", height=3.7) as (figure, axes):
        for index, _, path in drawn:
            look = style(index)
            x, y = [p[0] for p in path], [p[1] for p in path]
            axes.plot(x, y, color=look.colour, linestyle=look.line, linewidth=1.3, alpha=0.75)
            axes.plot(x[:-1], y[:-1], look.marker, color=look.colour, markersize=3, alpha=0.75)
            axes.plot(
                x[-1:],
                y[-1:],
                look.marker,
                color=look.colour,
                markersize=10,
                alpha=0.85,
                markeredgecolor=INK,
                markeredgewidth=1,
                zorder=5,
            )
        scores = [r.unedited.get("score", math.nan) for r in records]
        before = next((score for score in scores if math.isfinite(score)), None)
        _unedited(axes, before)
        ends = [p for _, _, path in drawn for p in path]
        corner = ends[-1][1] if before is None else before
        _frame(axes, [*ends, (1.0, corner)])
        axes.set_xlabel("ability kept: general over unedited general [ratio]")
        axes.set_ylabel("Score [share]")
        arms = ", ".join(r.label for _, r, _ in drawn)
        return inline(figure, "frontier", f"Score over general ability kept for {arms}")


def _path(record: RunRecord) -> list[tuple[float, float]]:
    rows = [p.metrics for p in record.curve] + [dict(record.final)]
    found: list[tuple[float, float]] = []
    for row in rows:
        kept, score = record.kept(row), row.get("score", row.get("efficacy"))
        if kept is None or score is None or not math.isfinite(kept) or not math.isfinite(score):
            continue
        if not found or found[-1] != (kept, score):
            found.append((kept, score))
    return found


def _unedited(axes: Axes, score: float | None) -> None:
    """The unedited model: a cross, or a line where its score is not defined."""
    if score is None:
        axes.axvline(1.0, color=INK, linewidth=1, linestyle=(0, (1, 2)))
        return
    axes.plot([1.0], [score], "+", color=INK, markersize=13, markeredgewidth=2, zorder=6)
    axes.annotate(
        "unedited",
        (1.0, score),
        xytext=(-9, 0),
        textcoords="offset points",
        ha="right",
        va="center",
    )


def _frame(axes: Axes, points: Sequence[tuple[float, float]]) -> None:
    axes.set_xlim(*_limits([x for x, _ in points]))
    axes.set_ylim(*_limits([y for _, y in points]))


def _limits(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    margin = max(0.04, 0.08 * (high - low))
    return max(-0.03, low - margin), high + margin
