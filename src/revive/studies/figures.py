"""A study's figures: drawn once, as SVG and PNG files and as part of a page. No torch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes

from revive.report.figures.svg import inline, panel, save

_HEIGHT = 3.7  # inches, legend included


@dataclass(frozen=True)
class StudyFigure:
    """One figure.

    Attributes:
        name: Of its files; unique in a study's folder.
        title: Above the axes.
        description: For those who cannot see it.
        draw: Draws on empty axes; called once for each form.
    """

    name: str
    title: str
    description: str
    draw: Callable[[Axes], None]


def legend_below(axes: Axes) -> None:
    """A legend in two columns under the axes, where it can hide nothing."""
    axes.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.17), ncols=2)


def write_figures(
    figures: Sequence[StudyFigure], folder: Path, *, paper: bool = False
) -> list[str]:
    """Write `<name>.svg` and `<name>.png` of each; give back `<svg>` elements for a page.

    Args:
        figures: What to draw.
        folder: Made if it is not there.
        paper: Draw the files one column wide, without a title; the page's elements stay as they
            are.
    """
    folder.mkdir(parents=True, exist_ok=True)
    elements: list[str] = []
    for found in figures:
        with panel(found.title, height=_HEIGHT, paper=paper) as (figure, axes):
            found.draw(axes)
            save(figure, folder / found.name)
        with panel(found.title, height=_HEIGHT) as (figure, axes):
            found.draw(axes)
            elements.append(inline(figure, found.name, found.description))
    return elements
