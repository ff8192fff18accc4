"""One self-contained page of figures and tables: what a study writes."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from typing import Protocol

from revive.report.markup import cells, html_table, section


class TableLike(Protocol):
    """A table of text."""

    @property
    def title(self) -> str:
        """What it shows."""
        ...

    @property
    def note(self) -> str:
        """How to read it."""
        ...

    @property
    def header(self) -> tuple[str, ...]:
        """Names of the columns."""
        ...

    @property
    def rows(self) -> tuple[tuple[str, ...], ...]:
        """Cells."""
        ...

    def markdown(self) -> str:
        """The table in Markdown."""
        ...


@dataclass(frozen=True)
class Chapter:
    """One study on the page.

    Attributes:
        title: Its heading.
        note: What was done.
        figures: `<svg>` elements.
        tables: Under the figures.
    """

    title: str
    note: str
    figures: Sequence[str]
    tables: Sequence[TableLike]


def study_page(title: str, facts: dict[str, str], chapters: Sequence[Chapter]) -> str:
    """The page as text: no scripts, no requests, everything inline."""
    css = files("revive.report").joinpath("style.css").read_text(encoding="utf-8")
    entries = "".join(
        f"<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>" for k, v in facts.items()
    )
    body = "".join(_chapter(chapter) for chapter in chapters)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>\n{css}</style></head>\n"
        f'<body><header><h1>{escape(title)}</h1><dl class="facts">{entries}</dl></header>'
        f"{body}</body></html>\n"
    )


def _chapter(chapter: Chapter) -> str:
    drawn = "".join(f"<div>{svg}</div>" for svg in chapter.figures)
    panels = f'<div class="panels">{drawn}</div>' if drawn else ""
    return section(chapter.title, chapter.note, panels, *map(_table, chapter.tables))


def _table(table: TableLike) -> str:
    rows = [cells(row[0], row[1:]) for row in table.rows]
    return f'<h3>{escape(table.title)}</h3><p class="note">{escape(table.note)}</p>' + html_table(
        table.header, rows
    )
