"""The figures of the drift study. No torch."""

from collections.abc import Callable, Sequence
from statistics import fmean

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from revive.report.figures.palette import INK, style
from revive.studies.drift_study.traces import KEPT, Trace
from revive.studies.figures import StudyFigure, legend_below

_DRAWN = {
    KEPT: "ability kept [share of unedited]",
    "efficacy_exact": "edits generated exactly [share]",
    "overlap_left": "overlap, output directions [share]",
    "overlap_right": "overlap, input directions [share]",
    "tail_ratio": "tail over last protected s [ratio]",
    "update_norm": "update over weight, norms [ratio]",
}


def drift_figures(traces: Sequence[Trace]) -> list[StudyFigure]:
    """Each measure over the edits, one line an arm, the range over its seeds as a band."""
    return [
        StudyFigure(
            f"drift-{measure}",
            label.partition(" [")[0].capitalize(),
            f"{label} over edits, by arm; bands are the range over seeds",
            _drawing(traces, measure, label),
        )
        for measure, label in _DRAWN.items()
        if any(measure in trace.values for trace in traces)
    ]


def _drawing(traces: Sequence[Trace], measure: str, label: str) -> Callable[[Axes], None]:
    groups = list(dict.fromkeys(t.group for t in traces))

    def draw(axes: Axes) -> None:
        for index, group in enumerate(groups):
            runs = [t.values.get(measure, {}) for t in traces if t.group == group]
            edits = sorted(set.intersection(*(set(r) for r in runs)))
            if not edits:
                continue
            look = style(index)
            axes.plot(
                edits,
                [fmean(r[n] for r in runs) for n in edits],
                color=look.colour,
                linestyle=look.line,
                marker=look.marker,
                markevery=max(1, len(edits) // 8),
                label=group,
            )
            low, high = ([f(r[n] for r in runs) for n in edits] for f in (min, max))
            axes.fill_between(edits, low, high, color=look.colour, alpha=0.15, linewidth=0)
        axes.axhline(1.0, color=INK, linewidth=0.8, linestyle=(0, (1, 2)))
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
        axes.set_xlabel("edits written")
        axes.set_ylabel(label)
        legend_below(axes)

    return draw
