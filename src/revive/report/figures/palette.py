"""How an arm is drawn: a colour-blind safe colour, a line style and a marker, by its place."""

from dataclasses import dataclass
from typing import Literal

LineStyle = Literal["-", "--", "-.", ":"]

# Okabe and Ito's eight colours, those of low contrast on white last.
_COLOURS = {
    "blue": "#0072b2",
    "vermillion": "#d55e00",
    "green": "#009e73",
    "purple": "#cc79a7",
    "black": "#000000",
    "orange": "#e69f00",
    "sky": "#56b4e9",
    "yellow": "#f0e442",
}
_LINES: tuple[LineStyle, ...] = ("-", "--", "-.", ":")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "h", "*")

INK = "#333333"
"""Text and axes."""

GRID = "#dddddd"

THEMED = {colour: f"c-{name}" for name, colour in _COLOURS.items()} | {
    INK: "ink",
    GRID: "grid",
}
"""Colours that the page restates in its dark theme, with the CSS variable of each."""


@dataclass(frozen=True, slots=True)
class Style:
    """Colour, line style and marker of one arm."""

    colour: str
    line: LineStyle
    marker: str


def style(index: int) -> Style:
    """Style of the arm at `index`; all twelve differ in marker, neighbours in everything."""
    colours = tuple(_COLOURS.values())
    return Style(
        colours[index % len(colours)],
        _LINES[(index + index // len(colours)) % len(_LINES)],
        _MARKERS[index % len(_MARKERS)],
    )


def fill(index: int) -> str:
    """Colour of a bar's part at `index`."""
    colours = tuple(_COLOURS.values())
    return colours[index % len(colours)]
