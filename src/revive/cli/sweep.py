"""`revive sweep`: a grid of runs, and one table of them."""

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from revive.cli.interrupt import keeps
from revive.cli.output import print_json, print_table, say


class Place(StrEnum):
    """Where runs are made."""

    LOCAL = "local"


def sweep(
    context: typer.Context,
    spec: Annotated[Path, typer.Argument(help="Sweep file (YAML): base, grid, seeds, metrics.")],
    out: Annotated[Path, typer.Option("--out", help="Folder of the runs.")] = Path("sweep"),
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Runs at a time [default: one per core].")
    ] = None,
    on: Annotated[Place, typer.Option(help="Where runs are made.")] = Place.LOCAL,
    table: Annotated[
        bool, typer.Option("--table", help="Only print the table of what is there.")
    ] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print it as Markdown.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """Make every run of a grid, then print one table: mean and spread over the seeds.

    Each run has a folder below --out and a process of its own. A run that is finished is kept, one
    that was interrupted resumes, one that fails is told of at the end and the others go on.

    Example: revive sweep recipes/all-editors.yaml --out runs/editors
    """
    from dataclasses import asdict

    from revive.cli.progress import RunProgress
    from revive.errors import SpecError
    from revive.runs.arms import run_arms
    from revive.runs.sweep import cells, load_sweep
    from revive.runs.sweep_table import markdown as as_markdown
    from revive.runs.sweep_table import rows

    del on  # one place so far
    wanted = load_sweep(spec)
    grid = list(cells(wanted))
    # Seed by seed, so that an interrupted sweep has whole comparisons.
    arms = [cell.arms[i] for i in range(len(wanted.seeds)) for cell in grid]
    failures: dict[str, str] = {}
    if not table:
        edits = [arm.spec.get("edits", {}).get("limit") for arm in arms]
        total = max((n for n in edits if isinstance(n, int)), default=0)
        keeps(context, out)
        with RunProgress([arm.label for arm in arms], total, quiet=quiet) as progress:

            def report(label: str, done: int, metrics: Mapping[str, float], phase: str) -> None:
                progress.update(
                    label,
                    edits=done,
                    efficacy=metrics.get("efficacy"),
                    general=metrics.get("general"),
                    phase=phase,
                )

            failures = run_arms(arms, out, jobs=jobs, report=report, keep_going=True)
    found = rows(grid, out, wanted.metrics, failures)
    for name, reason in failures.items():
        say(f"failed: {name}: {reason}")
    if not any(row.finished for row in found):
        raise SpecError(f"{out}: no run has finished; leave --table out to make them.")
    if json:
        print_json([asdict(row) for row in found])
    elif markdown:
        typer.echo(as_markdown(found, wanted.metrics))
    else:
        shown = [[*r.values.values(), *(str(r.metrics[m]) for m in wanted.metrics)] for r in found]
        head = [*found[0].values, *wanted.metrics]
        print_table(f"{len(arms)} runs, {len(wanted.seeds)} seeds", head, shown)
