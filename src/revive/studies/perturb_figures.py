"""The figures of the perturbation study. No torch."""

import math
from typing import TYPE_CHECKING

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from revive.report.figures.palette import style
from revive.studies.figures import StudyFigure, legend_below
from revive.studies.sensitivity import loss

if TYPE_CHECKING:
    from revive.studies.perturb import Perturbation, Setting

_WAYS = {"norm": "equal norm", "effect": "equal effect on inputs"}


def perturbation_figures(found: "Perturbation") -> list[StudyFigure]:
    """Loss over the bands at the largest level, one figure an ability and scheme."""
    settings = list(dict.fromkeys(r.setting for r in found.rows if r.setting is not None))
    figures: list[StudyFigure] = []
    for measure in found.intact:
        for scheme in dict.fromkeys(s.scheme for s in settings):
            chosen = [s for s in settings if s.scheme == scheme and s.side == "both"]
            figures.append(
                StudyFigure(
                    f"perturb-{measure}-{scheme}",
                    f"Noise by {scheme} band: {measure}",
                    f"Loss of {measure} to noise in each band of equal {_share(scheme)}, with 95 % "
                    "intervals, against isotropic noise",
                    _drawing(found, measure, chosen),
                )
            )
    return figures


def _share(scheme: str) -> str:
    return "count" if scheme == "index" else "energy"


def _drawing(found: "Perturbation", measure: str, settings: "list[Setting]"):
    level = max(found.settings.levels)

    def draw(axes: Axes) -> None:
        for index, setting in enumerate(settings):
            look = style(index)
            rows = [r for r in found.rows if r.setting == setting and r.level == level]
            lost = [loss(row, measure) for row in rows]
            place = [row.band + 1 + 0.12 * (index - 0.5) for row in rows]
            axes.errorbar(
                place,
                [e.value for e in lost],
                yerr=[[_half(e.value, e.interval) for e in lost]],
                color=look.colour,
                linestyle=look.line,
                marker=look.marker,
                capsize=2,
                label=_WAYS[setting.scaling],
            )
            for row in found.rows:
                if row.setting is None and row.scaling == setting.scaling and row.level == level:
                    null = loss(row, measure)
                    axes.axhline(
                        null.value,
                        color=look.colour,
                        linewidth=0.9,
                        linestyle=":",
                        label=f"isotropic, {_WAYS[setting.scaling]}",
                    )
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("band (1: largest singular values)")
        axes.set_ylabel(f"loss at size {level:g} [{_unit(measure)}]")
        legend_below(axes)

    return draw


def _half(value: float, interval: tuple[float, float]) -> float:
    half = interval[1] - value
    return half if math.isfinite(half) else 0.0


def _unit(measure: str) -> str:
    return "nats per token" if "likelihood" in measure else "share"
