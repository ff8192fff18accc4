"""Curves over the stream of edits: one panel a metric, one line an arm."""

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from revive.report.compare import wilson
from revive.report.figures.palette import INK, style
from revive.report.figures.svg import inline, panel, plain_log
from revive.report.metrics import Metric, metric
from revive.report.reading.curves import CurvePoint
from revive.report.reading.load import RunRecord

LOG_RANGE = 10.0
"""A positive metric that spans this factor is drawn on a logarithmic axis."""


def curve_panel(records: Sequence[RunRecord], name: str) -> str | None:
    """One metric over the number of edits, or None if no run measured it over the stream."""
    kind = metric(name)
    series = [(i, r, _finite(r, name)) for i, r in enumerate(records)]
    drawn = [(i, r, points) for i, r, points in series if points]
    if not drawn:
        return None
    with panel(kind.title) as (figure, axes):
        values = [p.metrics[name] for _, _, points in drawn for p in points]
        before = next((v for r in records if (v := r.unedited.get(name)) is not None), None)
        if before is not None and math.isfinite(before):
            values.append(before)
            axes.axhline(before, color=INK, linewidth=1, linestyle=(0, (1, 2)))
        for index, record, points in drawn:
            look = style(index)
            x = [p.edits for p in points]
            axes.plot(
                x,
                [p.metrics[name] for p in points],
                color=look.colour,
                linestyle=look.line,
                marker=look.marker,
                markevery=max(1, len(x) // 8),
            )
            if kind.proportion:
                _band(axes, points, name, look.colour)
            _lost(axes, record, name, look.colour, look.marker)
        _scale(axes, kind, values)
        axes.set_xlabel("edits written")
        axes.set_ylabel(kind.axis)
        _count(axes)
        axes.margins(x=0.02)
        arms = ", ".join(r.label for _, r, _ in drawn)
        return inline(figure, f"curve-{name}", f"{kind.title} over edits for {arms}")


def retention_panel(records: Sequence[RunRecord]) -> str | None:
    """Efficacy by age of the edit at the end of the stream, or None if nobody measured it."""
    drawn = [(i, r) for i, r in enumerate(records) if r.retention]
    if not drawn:
        return None
    with panel("Retention by age") as (figure, axes):
        for index, record in drawn:
            look = style(index)
            rows = [a for a in record.retention if a.efficacy is not None]
            axes.plot(
                [(a.age_from + a.age_to) / 2 for a in rows],
                [a.efficacy if a.efficacy is not None else math.nan for a in rows],
                color=look.colour,
                linestyle=look.line,
                marker=look.marker,
            )
        _scale(axes, metric("efficacy"), [])
        axes.set_xlabel("age: edits written since")
        axes.set_ylabel("Efficacy [share]")
        _count(axes)
        arms = ", ".join(r.label for _, r in drawn)
        return inline(figure, "retention", f"Efficacy by age of the edit for {arms}")


def _finite(record: RunRecord, name: str) -> list[CurvePoint]:
    return [p for p in record.curve if math.isfinite(p.metrics.get(name, math.nan))]


def _band(axes: Axes, points: Sequence[CurvePoint], name: str, colour: str) -> None:
    known = [(p.edits, p.metrics[name], p.sample) for p in points if p.sample]
    if len(known) < 2:
        return
    bounds = [wilson(min(max(share, 0.0), 1.0), n or 1) for _, share, n in known]
    axes.fill_between(
        [edits for edits, _, _ in known],
        [b[0] for b in bounds],
        [b[1] for b in bounds],
        color=colour,
        alpha=0.15,
        linewidth=0,
    )


def _lost(axes: Axes, record: RunRecord, name: str, colour: str, marker: str) -> None:
    """Mark measurements that are not finite at the panel's upper edge."""
    lost = [
        p.edits for p in record.curve if name in p.metrics and not math.isfinite(p.metrics[name])
    ]
    if lost:
        axes.plot(
            lost,
            [1.0] * len(lost),
            marker,
            color=colour,
            markerfacecolor="none",
            transform=axes.get_xaxis_transform(),
            clip_on=False,
        )


def _count(axes: Axes) -> None:
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))


def _scale(axes: Axes, kind: Metric, values: Sequence[float]) -> None:
    if kind.unit == "share":
        axes.set_ylim(-0.02, 1.03)
        return
    positive = bool(values) and min(values) > 0
    if positive and max(values) / min(values) >= LOG_RANGE:
        axes.set_yscale("log")
        plain_log(axes.yaxis)
        low, high = min(values), max(values)
        axes.set_ylim(10 ** math.floor(math.log10(low)), 10 ** math.ceil(math.log10(high * 1.05)))
