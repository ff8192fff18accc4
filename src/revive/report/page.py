"""The report: one self-contained page and the tables beside it."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from pathlib import Path

from revive.io.atomic import remove_abandoned, write_text
from revive.report import sections
from revive.report.edits import edits, edits_files
from revive.report.markup import html_table, section
from revive.report.narrative import narrative, thresholds
from revive.report.reading.load import RunRecord, load_runs
from revive.report.tables import (
    FORMATS,
    Table,
    curves_csv,
    everything,
    headline,
    with_intervals,
)
from revive.report.versus import Versus, against_first, versus_csv, versus_note, versus_table


def write_report(runs: Sequence[Path], out: Path, *, title: str) -> Path:
    """Write `index.html`, the headline table and the curves for some runs.

    Beside the page: `table.md`, `table.csv` and `table.tex` with the headline table, `curves.csv`
    with every measurement, `edits.md`, `edits.csv` and `edits.json` with every edit, and, where
    runs share their edits, `versus.md` and `versus.tex` with what sets each apart from the first,
    `versus.csv` with all of those comparisons.

    Args:
        runs: Run folders, one an arm, in the order in which they shall appear.
        out: Folder to write to; made if it is not there.
        title: Head of the page.

    Returns:
        The path of `index.html`.

    Raises:
        SpecError: One of the folders is not a run.
        PrerequisiteError: The disk is full; a page that was there before still is.
    """
    return Report.of(runs).write(out, title=title)


@dataclass(frozen=True)
class Report:
    """Runs, read and compared once; pages and tables are made of it.

    Attributes:
        records: The runs.
        versus: Every run but the first against the first.
    """

    records: tuple[RunRecord, ...]
    versus: tuple[Versus, ...]

    @classmethod
    def of(cls, runs: Sequence[Path]) -> "Report":
        """Read some run folders.

        Raises:
            SpecError: One of the folders is not a run.
        """
        records = load_runs(runs)
        return cls(records, against_first(records))

    def tables(self) -> dict[str, Table]:
        """By name: the headline with its intervals, and the differences where there are any."""
        apart = versus_table(self.versus)
        tables = {"table": with_intervals(headline(self.records), self.records)}
        return tables if apart is None else {**tables, "versus": apart}

    def text(self, name: str, ending: str) -> str:
        """A table of `tables` as `md`, `csv` or `tex`; differences as csv have a line each."""
        if (name, ending) == ("versus", "csv"):
            return versus_csv(self.versus)
        return FORMATS[ending](self.tables()[name])

    def write(self, out: Path, *, title: str, lead: str = "") -> Path:
        """Write what `write_report` says, with a piece of HTML ahead of everything else."""
        remove_abandoned(out)
        for name in self.tables():
            for ending in FORMATS:
                write_text(out / f"{name}.{ending}", self.text(name, ending))
        write_text(out / "curves.csv", curves_csv(self.records))
        for name, text in edits_files(self.records).items():
            write_text(out / name, text)
        page = out / "index.html"
        write_text(page, render(self.records, title, self.versus, lead))
        return page


def render(
    records: Sequence[RunRecord], title: str, found: Sequence[Versus], lead: str = ""
) -> str:
    """The page as text: no scripts, no requests, everything inline."""
    css = files("revive.report").joinpath("style.css").read_text(encoding="utf-8")
    body = "".join(
        (
            f"<header><h1>{escape(title)}</h1>{_facts(records)}</header>",
            lead,
            _story(records),
            section("Final metrics", _marking(records), _headline(records)),
            edits(records),
            _versus(found),
            sections.frontier(records),
            sections.curves(records),
            sections.retention(records),
            sections.guard(records),
            sections.seconds(records),
            sections.failed(records),
            section("Every metric", "", _all(records)),
            sections.definitions(records),
        )
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>\n{css}</style></head>\n"
        f"<body>{body}</body></html>\n"
    )


def _facts(records: Sequence[RunRecord]) -> str:
    def several(values: Sequence[str]) -> str:
        found = list(dict.fromkeys(v for v in values if v))
        more = f" and {len(found) - 4} more" if len(found) > 5 else ""
        return escape(", ".join(found[:4] if more else found) + more) or "not recorded"

    entries = {
        "Model": several([r.model for r in records]),
        "Editor": several([r.editor for r in records]),
        "Guard": several([r.guard for r in records]),
        "Edits": several([f"{r.edits:,}" for r in records]),
        "Batches": several([f"{r.batches:,}" for r in records]),
        "Order": several([r.order or "" for r in records]),
        "Seed": several(["" if r.seed is None else str(r.seed) for r in records]),
    }
    pairs = "".join(
        f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in entries.items()
    )
    return f'<dl class="facts">{pairs}</dl>'


def _story(records: Sequence[RunRecord]) -> str:
    took = "".join(
        f'<p class="story">{escape(r.label)}: {escape(r.table.headline())}.</p>'
        for r in records
        if r.table.asked
    )
    return (
        f'<section><h2>What happened</h2>{took}<p class="story">{escape(narrative(records))}</p>'
        f'<details class="small"><summary>How this paragraph was derived</summary>'
        f"<p>{escape(thresholds())}</p></details></section>"
    )


def _headline(records: Sequence[RunRecord]) -> str:
    return _html(with_intervals(headline(records), records), unedited=True)


def _versus(found: Sequence[Versus]) -> str:
    if not found:
        return ""
    table = versus_table(found)
    return section(
        "Beyond noise?", versus_note(found), "" if table is None else _html(table, unedited=False)
    )


def _marking(records: Sequence[RunRecord]) -> str:
    if len(records) == 1:
        return "After the last edit."
    return "After the last edit. The best of each column is marked; near ties are not told apart."


def _all(records: Sequence[RunRecord]) -> str:
    table = _html(everything(records), unedited=True)
    return f"<details><summary>Full table</summary>{table}</details>"


def _html(table: Table, *, unedited: bool) -> str:
    rows: list[str] = []
    for index, row in enumerate(table.rows):
        body = "".join(
            f'<td class="best">{escape(c.text)}</td>' if c.best else f"<td>{escape(c.text)}</td>"
            for c in row.cells
        )
        kind = ' class="unedited"' if unedited and index == 0 else ""
        rows.append(f'<tr{kind}><th scope="row">{escape(row.label)}</th>{body}</tr>')
    return html_table(["Arm", *(m.title for m in table.columns)], rows, "headline")
