"""The section of single edits: what each was, what the model said before and says now."""

from collections.abc import Sequence
from html import escape

from revive.io.json_text import to_json
from revive.metrics.per_edit import EditRow, EditTable, to_csv
from revive.report.markup import html_table, section
from revive.report.reading.load import RunRecord
from revive.wording import literal

SHOWN = 100
"""Most rows of one run on the page; the files beside it have all."""

_HEAD = ("Took", "Prompt", "Shall say", "Said before", "Says now", "Paraphrases", "Reason")
_TOOK = {True: "yes", False: "no", None: "?"}


def edits(records: Sequence[RunRecord]) -> str:
    """How many edits took, and every one of them, those that did not take first."""
    told = [r for r in records if r.table.rows]
    if not told:
        return ""
    note = (
        "Answers are greedy continuations of the edit's prompt; an edit took if its new target is "
        "how that begins. edits.csv and edits.json beside this page have every row."
    )
    open_ = len(told) == 1
    return section("Edit by edit", note, *(_arm(r, open_=open_) for r in told))


def _arm(record: RunRecord, *, open_: bool) -> str:
    table = record.table
    shown = table.worst_first()[:SHOWN]
    rows = [
        f'<tr><th scope="row">{_TOOK[row.reached]}</th>'
        + "".join(f'<td class="text">{escape(cell)}</td>' for cell in _cells(row)[1:])
        + "</tr>"
        for row in shown
    ]
    left = len(table.rows) - len(shown)
    more = [f"{left:,} more are in edits.csv."] if left else []
    notes = "".join(f'<p class="small">{escape(n)}</p>' for n in (table.note, *more) if n)
    title = f"<h3>{escape(record.label)}: {escape(table.headline())}.</h3>"
    flag = " open" if open_ else ""
    count = f"{len(shown):,} edits" if len(shown) > 1 else "The edit"
    whole = html_table(_HEAD, rows, "edits")
    return f"{title}<details{flag}><summary>{count}</summary>{whole}</details>{notes}"


def _cells(row: EditRow) -> list[str]:
    right = row.paraphrases_reached
    said = ["not asked" if text is None else literal(text) for text in (row.before, row.now)]
    return [
        _TOOK[row.reached],
        literal(row.asked),
        literal(row.target_new),
        *said,
        f"{right} of {row.paraphrases}" if row.paraphrases and right is not None else "",
        literal(row.reason),
    ]


def edits_files(records: Sequence[RunRecord]) -> dict[str, str]:
    """By name, the files beside the page; none where no run holds a row."""
    told = [r for r in records if r.table.rows]
    if not told:
        return {}
    rows = [(r.label, row) for r in told for row in r.table.rows]
    several = len(told) > 1
    plain = [{"arm": r.label, **r.table.plain()} for r in told]
    return {
        "edits.csv": to_csv(rows, "arm" if several else ""),
        "edits.json": to_json(plain if several else plain[0], indent=1) + "\n",
        "edits.md": "\n".join(_markdown(r.label, r.table) for r in told),
    }


def _markdown(label: str, table: EditTable) -> str:
    lines = [f"**{_pipeless(label)}**: {table.headline()}.", "", _line(_HEAD)]
    lines.append(_line(["---"] * len(_HEAD)))
    lines += [_line([_pipeless(cell) for cell in _cells(row)]) for row in table.worst_first()]
    return "\n".join([*lines, *(["", table.note] if table.note else [])]) + "\n"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _pipeless(text: str) -> str:
    """Text that Markdown shows as it is."""
    return "".join(f"\\{c}" if c in "\\`*_[]<>|#~" else c for c in text)
