"""From a figure to inline SVG: same bytes for the same data, colours left to the page."""

import io
import re
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from revive.report.figures.palette import GRID, INK, THEMED

# Sizes are in points and legible when one panel fills a phone, 390 CSS pixels wide.
_SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "revive",
    "text.parse_math": False,
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "lines.linewidth": 1.8,
    "lines.markersize": 4.5,
}

# One column of a two-column paper, 3.3 inches; the caption stands in for the title.
_PAPER: dict[Any, Any] = {
    **_SETTINGS,
    "svg.fonttype": "path",
    "font.family": "DejaVu Serif",
    "font.size": 7,
    "axes.labelsize": 7,
    "legend.fontsize": 6.5,
    "lines.linewidth": 1.2,
    "lines.markersize": 3,
}


@contextmanager
def panel(
    title: str, *, width: float = 4.7, height: float = 3.1, paper: bool = False
) -> Generator[tuple[Figure, Axes]]:
    """A figure with one set of axes, under the report's settings.

    Args:
        title: Printed above the axes.
        width: In inches.
        height: In inches.
        paper: For print instead: one column wide, no title.
    """
    with mpl.rc_context(_PAPER if paper else _SETTINGS):
        size = (3.3, 2.8) if paper else (width, height)
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.add_subplot()
        if not paper:
            axes.set_title(title)
        yield figure, axes


def save(figure: Figure, stem: Path) -> None:
    """Write `<stem>.svg` and `<stem>.png`, the same bytes for the same data.

    Args:
        figure: Drawn inside `panel`.
        stem: Path without ending; its folder exists.
    """
    for ending, metadata in (("svg", {"Date": None}), ("png", {"Software": None})):
        figure.savefig(stem.with_suffix(f".{ending}"), dpi=200, metadata=metadata)


def plain_log(axis: Axis) -> None:
    """Label a logarithmic axis by plain numbers, a few of them, and none between decades."""
    axis.set_major_locator(LogLocator(base=10, numticks=6))
    axis.set_major_formatter(FuncFormatter(_decade))
    axis.set_minor_formatter(NullFormatter())


def _decade(value: float, _: int | None) -> str:
    return f"{value:,.0f}" if 1 <= value < 1e5 else f"{value:g}"


def inline(figure: Figure, name: str, description: str) -> str:
    """The figure as an `<svg>` element for a page.

    Args:
        figure: Drawn inside `panel`.
        name: Unique on the page; prefixes every id.
        description: What the picture shows, for those who cannot see it.
    """
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'\sxmlns(:xlink)?="[^"]*"', "", text)
    text = text.replace("xlink:href", "href")
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r"url\(#", f"url(#{name}-", text)
    text = re.sub(r'href="#', f'href="#{name}-', text)
    for colour, variable in THEMED.items():
        text = text.replace(colour, f"var(--{variable}, {colour})")
    text = text.replace("<svg", f'<svg role="img" aria-label="{_attribute(description)}"', 1)
    return re.sub(r"\n\s*", "\n", text).strip()


def _attribute(text: str) -> str:
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
