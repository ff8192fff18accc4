"""`revive demo`: one stream of edits, with and without the guard, side by side."""

from pathlib import Path
from typing import Annotated

import typer

from revive.cli.interrupt import keeps
from revive.cli.output import print_json, say, show

_WIDE = 160  # columns; below this the full table would break words


def demo(
    context: typer.Context,
    out: Annotated[Path, typer.Option("--out", help="Folder of the runs and the report.")] = Path(
        "demo-run"
    ),
    edits: Annotated[int, typer.Option(min=20, help="Length of the stream.")] = 512,
    batch_size: Annotated[int, typer.Option(min=1, help="Edits per batch.")] = 64,
    seed: Annotated[int, typer.Option(help="Of the stream and everything drawn.")] = 0,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Arms at a time \\[default: all of them].")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the summaries as JSON.")] = False,
) -> None:
    """Edit the embedded lab model hundreds of times, several ways, and compare what is left of it.

    The arms share stream, order and seed: MEMIT; MEMIT with REVIVE, at the paper's tau and at one
    calibrated on a fresh batch; MEMIT with its regulariser re-tuned for the whole stream (the
    honest control); MEMIT with history and REVIVE, solved under the constraint.
    Ends with a table and report/index.html. Run it again after an interruption: finished arms are
    kept, the others resume.
    """
    import json as json_module

    from rich.console import Console

    from revive.cli.progress import RunProgress
    from revive.report.narrative import narrative
    from revive.report.page import Report
    from revive.report.tables import brief, headline, to_rich
    from revive.runs.arms import run_arms
    from revive.runs.demo import demo_arms

    arms = demo_arms(edits, batch_size, seed)
    folders = [out / arm.name for arm in arms]
    keeps(context, out)
    with RunProgress([arm.label for arm in arms], edits, quiet=quiet) as progress:
        # All at once: five arms of one thread each, two by two, would leave a core idle at the end.
        run_arms(arms, out, jobs=jobs or len(arms), report=progress.follow, lead=True)
    found = Report.of(folders)
    page = found.write(out / "report", title=f"{edits} edits, arm by arm")
    if json:
        texts = [(folder / "summary.json").read_text(encoding="utf-8") for folder in folders]
        print_json({arm.name: json_module.loads(t) for arm, t in zip(arms, texts, strict=True)})
    else:
        records = found.records
        console = Console()
        if not console.is_terminal:
            console = Console(width=_WIDE)  # a file or a pipe has no width to keep to
        table = headline(records) if console.width >= _WIDE else brief(records)
        console.print(to_rich(table))
        show(narrative(records))
    say(f"report: {page}")
