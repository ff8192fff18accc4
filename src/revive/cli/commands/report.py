"""`revive report`: a page from run folders alone."""

from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from revive.cli.output import print_json, say, show
from revive.errors import PrerequisiteError
from revive.io.atomic import is_disk_full


class Form(StrEnum):
    """How tables are printed."""

    markdown = "md"
    csv = "csv"
    latex = "tex"


def report(
    runs: Annotated[list[Path], typer.Argument(help="Run folders; several are put side by side.")],
    out: Annotated[Path, typer.Option("--out", help="Folder of the page.")] = Path("report"),
    title: Annotated[str, typer.Option(help="Title of the page.")] = "Sequential editing",
    table: Annotated[
        Form | None, typer.Option("--table", help="Also print the tables: md, csv or tex.")
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print the page's path and the comparisons as JSON.")
    ] = False,
) -> None:
    """Write one self-contained HTML page; no model is loaded.

    Of single edits it shows what the model said before and says now, and why an edit did not take
    where that is known; edits.csv, edits.json and edits.md beside it have all of them.

    Several runs over one stream are compared with the first of them edit by edit: the difference
    in every metric with its 95 % interval, and whether it is within noise. The tables stand beside
    the page too, as Markdown, CSV and LaTeX.

    Examples:
        revive report runs/memit runs/memit-revive --out report
        revive report runs/* --table tex > table.tex
    """
    from revive.report.page import Report

    found = Report.of(runs)
    try:
        page = found.write(out, title=title)
    except (OSError, PrerequisiteError) as error:
        if is_disk_full(error.__cause__ or error):
            raise PrerequisiteError(
                f"{out}: no space left on the disk; free some and call the command again."
            ) from error
        raise
    if json:
        answers = [{"arm": r.label, **r.table.counts()} for r in found.records]
        versus = [asdict(one) for one in found.versus]
        print_json({"page": str(page), "answers": answers, "versus": versus})
        return
    for record in found.records:
        if record.table.asked:
            say(f"{record.label}: {record.table.headline()}.")
    say(f"report: {page}")
    for name in found.tables() if table is not None else ():
        show(found.text(name, str(table)))
