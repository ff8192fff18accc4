"""`revive report`: a page from run folders alone."""

from pathlib import Path
from typing import Annotated

import typer

from revive.cli.output import print_json, say
from revive.errors import PrerequisiteError
from revive.runs.atomic import is_disk_full


def report(
    runs: Annotated[list[Path], typer.Argument(help="Run folders; several are put side by side.")],
    out: Annotated[Path, typer.Option("--out", help="Folder of the page.")] = Path("report"),
    title: Annotated[str, typer.Option(help="Title of the page.")] = "Sequential editing",
    json: Annotated[bool, typer.Option("--json", help="Print the page's path as JSON.")] = False,
) -> None:
    """Write one self-contained HTML page; no model is loaded.

    Example: revive report runs/memit runs/memit-revive --out report
    """
    from revive.report.page import write_report

    try:
        page = write_report(runs, out, title=title)
    except (OSError, PrerequisiteError) as error:
        if is_disk_full(error.__cause__ or error):
            raise PrerequisiteError(
                f"{out}: no space left on the disk; free some and call the command again."
            ) from error
        raise
    if json:
        print_json({"page": str(page)})
    else:
        say(f"report: {page}")
