"""Legends in HTML, shared by the panels of a section, so that none covers a curve."""

from collections.abc import Sequence
from html import escape

from revive.metrics.metric import OURS
from revive.metrics.page import UNITS
from revive.report.figures.palette import INK, THEMED, Style, fill, style
from revive.report.metrics import Metric
from revive.report.reading.load import RunRecord

_DASHES = {"-": "", "--": "7 4", "-.": "8 3 2 3", ":": "2 3"}

# Outlines in a box from -5 to 5, by matplotlib's marker letter.
_SHAPES = {
    "s": "-4,-4 4,-4 4,4 -4,4",
    "^": "0,-5 5,4 -5,4",
    "v": "0,5 5,-4 -5,-4",
    "<": "-5,0 4,-5 4,5",
    ">": "5,0 -4,-5 -4,5",
    "D": "0,-5 5,0 0,5 -5,0",
    "p": "0,-5 5,-1 3,4 -3,4 -5,-1",
    "h": "0,-5 4,-2.5 4,2.5 0,5 -4,2.5 -4,-2.5",
    "*": "0,-5 1.5,-1.5 5,-1.5 2,1 3,5 0,2.5 -3,5 -2,1 -5,-1.5 -1.5,-1.5",
    "P": "-2,-5 2,-5 2,-2 5,-2 5,2 2,2 2,5 -2,5 -2,2 -5,2 -5,-2 -2,-2",
    "X": "-5,-3 -3,-5 0,-2 3,-5 5,-3 2,0 5,3 3,5 0,2 -3,5 -5,3 -2,0",
}


def swatch(look: Style) -> str:
    """A short piece of an arm's line with its marker."""
    colour = _themed(look.colour)
    mark = (
        f'<circle cx="15" cy="7" r="4" fill="{colour}"/>'
        if look.marker not in _SHAPES
        else f'<polygon transform="translate(15 7)" points="{_SHAPES[look.marker]}" '
        f'fill="{colour}"/>'
    )
    return (
        '<svg class="swatch" viewBox="0 0 30 14" aria-hidden="true">'
        f'<path d="M1 7H29" stroke="{colour}" stroke-width="2" '
        f'stroke-dasharray="{_DASHES[look.line]}"/>{mark}</svg>'
    )


def arms_legend(records: Sequence[RunRecord], *, unedited: bool = False) -> str:
    """One entry an arm; with `unedited`, also the dotted line of the unedited model."""
    entries = [f"<li>{swatch(style(i))}{escape(r.label)}</li>" for i, r in enumerate(records)]
    if unedited:
        entries.append(
            '<li><svg class="swatch" viewBox="0 0 30 14" aria-hidden="true"><path d="M1 7H29" '
            f'stroke="{_themed(INK)}" stroke-dasharray="1 2"/></svg>unedited model</li>'
        )
    return f'<ul class="legend">{"".join(entries)}</ul>'


def parts_legend(titles: Sequence[str]) -> str:
    """One entry a part of a stacked bar, in the bars' order."""
    entries = "".join(
        f'<li><svg class="swatch" viewBox="0 0 14 14" aria-hidden="true"><rect width="14" '
        f'height="14" fill="{_themed(fill(i))}"/></svg>{escape(title)}</li>'
        for i, title in enumerate(titles)
    )
    return f'<ul class="legend">{entries}</ul>'


def metrics_legend(metrics: Sequence[Metric]) -> str:
    """Name, meaning, unit, better direction and source of each metric."""
    better = {"higher": "higher is better", "lower": "lower is better", "none": ""}
    entries: list[str] = []
    for m in metrics:
        unit = "" if m.unit == "none" else UNITS[m.unit]
        source = "" if m.source == OURS else f"after {m.source}"
        notes = ", ".join(n for n in (unit, better[m.direction], source) if n)
        entries.append(
            f"<dt>{escape(m.title)} <code>{escape(m.name)}</code></dt>"
            f"<dd>{escape(m.definition)}{f' <i>{notes}.</i>' if notes else ''}</dd>"
        )
    return f"<dl>{''.join(entries)}</dl>"


def _themed(colour: str) -> str:
    return f"var(--{THEMED[colour]})"
