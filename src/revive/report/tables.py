"""Tables as data, and as text, Markdown, CSV and LaTeX."""

import csv
import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from rich.table import Table as RichTable
from rich.text import Text

from revive.report.metrics import BRIEF, HEADLINE, METRICS, Metric, metric
from revive.report.reading.load import RunRecord
from revive.wording import cell


@dataclass(frozen=True, slots=True)
class TableCell:
    """One value: as printed, as measured, and whether it is the best of its column."""

    text: str
    value: float | None = None
    best: bool = False


@dataclass(frozen=True, slots=True)
class TableRow:
    """One arm, or the unedited model."""

    label: str
    cells: tuple[TableCell, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """A table of metrics: one column a metric, one row an arm."""

    columns: tuple[Metric, ...]
    rows: tuple[TableRow, ...]


def headline(records: Sequence[RunRecord]) -> Table:
    """Final metrics of every arm under those of the unedited model; columns nobody has are cut."""
    return _table(records, HEADLINE)


def with_intervals(table: Table, records: Sequence[RunRecord]) -> Table:
    """The same table with the 95 % interval of every value that has one."""
    known = {r.label: r.intervals for r in records}

    def cell(label: str, column: Metric, found: TableCell) -> TableCell:
        edges = known.get(label, {}).get(column.name)
        if edges is None:
            return found
        low, high = (column.format(edge) for edge in edges)
        return replace(found, text=f"{found.text} [{low}, {high}]")

    rows = [
        TableRow(
            r.label,
            tuple(cell(r.label, m, c) for m, c in zip(table.columns, r.cells, strict=True)),
        )
        for r in table.rows
    ]
    return Table(table.columns, tuple(rows))


def brief(records: Sequence[RunRecord]) -> Table:
    """As much of `headline` as fits a narrow terminal."""
    return _table(records, BRIEF)


def everything(records: Sequence[RunRecord]) -> Table:
    """Every final metric that any arm reports, registered ones first."""
    extra = sorted({name for r in records for name in r.final} - set(METRICS))
    return _table(records, (*METRICS, *extra))


def _table(records: Sequence[RunRecord], names: Sequence[str]) -> Table:
    columns = tuple(
        metric(name) for name in names if any(r.value(name) is not None for r in records)
    )
    best = {m.name: _best(m, records) for m in columns} if len(records) > 1 else {}
    before = _unedited(records)
    rows = [TableRow("unedited", tuple(_cell(m, before.get(m.name), None) for m in columns))]
    rows += [
        TableRow(r.label, tuple(_cell(m, r.value(m.name), best.get(m.name)) for m in columns))
        for r in records
    ]
    return Table(columns, tuple(rows))


def _unedited(records: Sequence[RunRecord]) -> dict[str, float]:
    merged: dict[str, float] = {}
    if len({r.model for r in records}) == 1:
        for record in records:
            merged = {**record.unedited, **merged}
    return merged


def _best(column: Metric, records: Sequence[RunRecord]) -> float | None:
    values = [v for r in records if (v := r.value(column.name)) is not None and math.isfinite(v)]
    if column.direction == "none" or not values:
        return None
    if len({column.format(v) for v in values}) == 1 < len(values):
        return None
    return max(values) if column.direction == "higher" else min(values)


def _cell(column: Metric, value: float | None, best: float | None) -> TableCell:
    text = column.format(value)
    return TableCell(text, value, best is not None and text == column.format(best))


def to_rich(table: Table) -> RichTable:
    """For the terminal; the best of a column is bold."""
    out = RichTable(show_edge=False, pad_edge=False)
    out.add_column("arm", overflow="fold")
    for column in table.columns:
        out.add_column(column.title, justify="right")
    for row in table.rows:
        cells = (Text(c.text, style="bold green" if c.best else "") for c in row.cells)
        out.add_row(Text(row.label), *cells)
    return out


def to_markdown(table: Table) -> str:
    """GitHub's Markdown; the best of a column is bold."""
    head = ["arm", *(m.title for m in table.columns)]
    lines = [_pipe(head), _pipe([":--", *("--:" for _ in table.columns)])]
    for row in table.rows:
        cells = [f"**{c.text}**" if c.best else c.text for c in row.cells]
        lines.append(_pipe([row.label.replace("|", "\\|"), *cells]))
    return "\n".join(lines) + "\n"


def _pipe(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def to_csv(table: Table) -> str:
    """Full precision, metric names as heads, empty where not measured."""
    rows = [["arm", *(m.name for m in table.columns)]]
    rows += [
        [r.label, *("" if c.value is None else repr(c.value) for c in r.cells)] for r in table.rows
    ]
    return csv_text(rows)


def curves_csv(records: Sequence[RunRecord]) -> str:
    """Every measurement of every arm, one a line."""
    rows = [["arm", "edits", "metric", "value"]]
    for record in records:
        for point in record.curve:
            rows += [
                [record.label, str(point.edits), name, repr(value)]
                for name, value in sorted(point.metrics.items())
            ]
    return csv_text(rows)


def csv_text(rows: Sequence[Sequence[str]]) -> str:
    """Rows as comma-separated values."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(map(cell, row) for row in rows)
    return buffer.getvalue()


def to_latex(table: Table) -> str:
    """A booktabs tabular; the best of a column is bold."""
    head = " & ".join(["arm", *(_tex(m.title) for m in table.columns)])
    lines = [
        rf"\begin{{tabular}}{{l{'r' * len(table.columns)}}}",
        r"\toprule",
        rf"{head} \\",
        r"\midrule",
    ]
    for row in table.rows:
        cells = [rf"\textbf{{{_tex(c.text)}}}" if c.best else _tex(c.text) for c in row.cells]
        lines.append(rf"{' & '.join([_tex(row.label), *cells])} \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


_TEX: dict[str, str] = {c: rf"\{c}" for c in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "∞": r"$\infty$",
    "–": "--",
    "−": "$-$",
    "≈": r"$\approx$",
    "λ": r"$\lambda$",
    "τ": r"$\tau$",
}


def _tex(text: str) -> str:
    return "".join(_TEX.get(c, c) for c in text)


FORMATS: dict[str, Callable[[Table], str]] = {
    "md": to_markdown,
    "csv": to_csv,
    "tex": to_latex,
}
"""Writers by file ending."""
