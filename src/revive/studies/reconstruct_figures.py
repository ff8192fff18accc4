"""The figures of the reconstruction study. No torch."""

from typing import TYPE_CHECKING

from matplotlib.axes import Axes
from matplotlib.ticker import StrMethodFormatter

from revive.report.figures.palette import INK, style
from revive.studies.figures import StudyFigure, legend_below
from revive.studies.recovery import recovery

if TYPE_CHECKING:
    from revive.studies.reconstruct import Reconstruction, Selection

_ORDER: "tuple[Selection, ...]" = ("top", "bottom", "random, equal count", "random, equal energy")


def reconstruction_figures(found: "Reconstruction") -> list[StudyFigure]:
    """Recovered share over p, one figure an ability."""
    return [
        StudyFigure(
            f"reconstruct-{measure}",
            f"Rebuilt from part of it: {measure}",
            f"Share of {measure} recovered over the share of components kept, for top, bottom and "
            "random components; bands are the range over seeds",
            _drawing(found, measure),
        )
        for measure in found.intact
    ]


def _drawing(found: "Reconstruction", measure: str):
    def draw(axes: Axes) -> None:
        for index, selection in enumerate(_ORDER):
            curves = recovery(found, measure, selection)
            look = style(index)
            mean = curves.mean()[1:]  # p = 0 has no place on a logarithmic axis
            p = [100 * share for share, _ in mean]
            axes.plot(
                p,
                [r for _, r in mean],
                color=look.colour,
                linestyle=look.line,
                marker=look.marker,
                label=selection,
            )
            if len(curves.curves) > 1:
                each = [[c[i + 1][1] for c in curves.curves] for i in range(len(mean))]
                low, high = [min(v) for v in each], [max(v) for v in each]
                axes.fill_between(p, low, high, color=look.colour, alpha=0.15, linewidth=0)
        axes.axhline(1.0, color=INK, linewidth=0.8, linestyle=(0, (1, 2)))
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.set_xlabel("components kept [%]")
        axes.set_ylabel("recovered [share]")
        legend_below(axes)

    return draw
