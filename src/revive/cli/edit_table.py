"""The table of single edits on a terminal: what was asked, said before and now, and why not."""

from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from revive.cli.output import say
from revive.io.atomic import write_text
from revive.io.json_text import to_json
from revive.metrics.per_edit import EditRow, EditTable, to_csv
from revive.run_folder.reasons import advice
from revive.spec.parsing import editor_options, load_spec
from revive.wording import counted, literal

SHOWN = 20
"""Most rows on a terminal."""

_WIDE = 130  # columns, from which on reasons have a column of their own
_LONG = 160  # characters of a prompt


def print_edits(title: str, table: EditTable, whole: str) -> None:
    """The headline and up to `SHOWN` rows on stdout, those that did not take first.

    Args:
        title: What the table is of.
        table: The edits.
        whole: Where all rows are, as a clause.
    """
    console = Console()
    head = Text(f"{literal(title)}: {table.headline()}", style="bold")
    console.print(head, soft_wrap=True)
    rows = table.worst_first()
    if not rows:
        return
    wide = console.width >= _WIDE
    before = any(row.before is not None for row in rows)
    out = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    out.add_column("took")
    out.add_column("prompt", ratio=6, overflow="fold")
    out.add_column("shall say", ratio=2, overflow="fold")
    if before:
        out.add_column("said before", ratio=3, overflow="fold")
    out.add_column("says now", ratio=3, overflow="fold")
    out.add_column("para-\nphrases" if not wide else "paraphrases")
    if wide:
        out.add_column("reason", ratio=4, overflow="fold")
    for row in rows[:SHOWN]:
        out.add_row(*_cells(row, before=before, wide=wide))
    console.print(out)
    _tell_rest(table, len(rows), whole)


def write_edits(file: Path, table: EditTable) -> None:
    """Save all rows as `.csv` or, with their counts, as `.json`."""
    csv = file.suffix.lower() == ".csv"
    rows = to_csv([("", row) for row in table.rows])
    write_text(file, rows if csv else to_json(table.plain(), indent=1) + "\n")


def tell_missed(table: EditTable, folder: Path) -> None:
    """Say on stderr that edits did not take, and what may help; nothing if all did."""
    missed = table.asked - table.reached
    if not missed:
        return
    editor = load_spec(folder / "spec.yaml").editor
    step = "max_step" if (editor.model_extra or {}).get("optimizer") == "polyak" else "lr"
    helps = advice(table.causes(), editor_options(editor).strength, step)
    verb = "does" if missed == 1 else "do"
    say(
        f"{missed:,} of {counted(table.asked, 'edit')} {verb} not answer with the new target"
        + (f"; {helps}." if helps else ".")
    )


def _tell_rest(table: EditTable, rows: int, whole: str) -> None:
    if table.note:
        say(table.note)
    if rows > SHOWN:
        say(f"{SHOWN} of {rows:,} edits are shown, those that did not take first; {whole}.")


def _cells(row: EditRow, *, before: bool, wide: bool) -> list[Text]:
    took = {True: Text("yes", "green"), False: Text("no", "red"), None: Text("?")}[row.reached]
    prompt = Text(_end(literal(row.asked)))
    reason = literal(row.reason)
    if reason and not wide:
        prompt.append(f"\n{reason}", "italic")
    cells = [took, prompt, Text(literal(row.target_new))]
    if before:
        cells.append(_said(row.before))
    cells += [_said(row.now), Text(_paraphrases(row))]
    return [*cells, Text(reason)] if wide else cells


def _said(text: str | None) -> Text:
    if text is None:
        return Text("not asked", "dim")
    return Text(literal(text)) if text else Text("nothing", "dim")


def _paraphrases(row: EditRow) -> str:
    if not row.paraphrases or row.paraphrases_reached is None:
        return ""
    return f"{row.paraphrases_reached} of {row.paraphrases}"


def _end(text: str) -> str:
    return text if len(text) <= _LONG else f"...{text[3 - _LONG :]}"
