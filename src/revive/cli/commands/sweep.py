"""`revive sweep`: a grid of runs, one table and one report of them."""

from collections.abc import Sequence
from contextlib import nullcontext, suppress
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from revive.cli.interrupt import keeps
from revive.cli.model_options import TrustRemoteCode
from revive.cli.output import print_json, print_table, say, say_text, show
from revive.wording import counted

if TYPE_CHECKING:
    from revive.sweeps.executor import Executor
    from revive.sweeps.variants import RunVariant


class On(StrEnum):
    """Where runs are made."""

    LOCAL = "local"
    RAY = "ray"


def sweep(
    context: typer.Context,
    spec: Annotated[Path, typer.Argument(help="Sweep file (YAML): base, grid, seeds, metrics.")],
    out: Annotated[Path, typer.Option("--out", help="Folder of the runs.")] = Path("sweep"),
    jobs: Annotated[
        int | None,
        typer.Option(
            min=1, help="Runs at a time \\[default: one per core, or what Ray has room for]."
        ),
    ] = None,
    retries: Annotated[
        int, typer.Option(min=0, help="How often a run that failed is resumed.")
    ] = 2,
    on: Annotated[On, typer.Option(help="Where runs are made.")] = On.LOCAL,
    address: Annotated[
        str | None,
        typer.Option(
            help="Ray cluster: HOST:PORT, ray://HOST:PORT, or auto for the one on this machine "
            "\\[default: one is started for the sweep]."
        ),
    ] = None,
    gpus: Annotated[
        int | None,
        typer.Option(
            min=0, help="GPUs that a run claims of Ray \\[default: what its spec asks for]."
        ),
    ] = None,
    scratch: Annotated[
        Path | None,
        typer.Option(
            help="Folder on Ray's nodes to work in; results are copied to --out \\[default: --out "
            "itself where a node sees it, else the node's folder for temporary files]."
        ),
    ] = None,
    table: Annotated[
        bool, typer.Option("--table", help="Only print the table of what is there.")
    ] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print it as Markdown.")] = False,
    trust_remote_code: TrustRemoteCode = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """Make every run of a grid, then print one table: mean and spread over the seeds.

    Each run has a folder below --out and a process of its own; --out/report/index.html puts them
    side by side. A run that is finished is kept, one that was interrupted resumes. One that fails
    is resumed up to --retries times, unless its spec or its numbers are at fault; then it is told
    of at the end, and the others go on.

    On Ray a run claims the CPUs that its spec names as threads, and a GPU if its model.device asks
    for one. Nodes need this version of revive, and whatever the spec names by path.

    Examples:
        revive sweep recipes/all-editors.yaml --out runs/editors
        revive sweep grid.yaml --on ray
        revive sweep grid.yaml --on ray --address head:6379 --out /shared/grid
    """
    from dataclasses import asdict

    from revive.errors import ReviveError, SpecError
    from revive.sources.model_config import read_model_config
    from revive.spec.parsing import parse_spec
    from revive.spec.resolve import resolve
    from revive.sweeps.executor import LocalExecutor
    from revive.sweeps.grid import cells, load_sweep
    from revive.sweeps.table import markdown as as_markdown
    from revive.sweeps.table import rows

    if on is not On.RAY and not (address is None and gpus is None and scratch is None):
        raise SpecError("--address, --gpus and --scratch are for a Ray cluster; add --on ray.")
    wanted = load_sweep(spec)
    grid = list(cells(wanted))
    # Seed by seed, so that an interrupted sweep has whole comparisons.
    arms = [cell.arms[i] for i in range(len(wanted.seeds)) for cell in grid]
    failures: dict[str, str] = {}
    if not table:
        keeps(context, out)
        todo = [a for a in arms if not (out / a.name / "summary.json").exists()]
        # A spec that is at fault is told of by its own run.
        with suppress(ReviveError):
            read = parse_spec(todo[0].spec if todo else {})
            config = read_model_config(read.model.name, read.model.revision)
            say_text(read, resolve(read, config), quiet=quiet or json)
        where = nullcontext(LocalExecutor(trust_code=trust_remote_code))
        if on is On.RAY and todo:
            from revive.sweeps.ray.cluster import cluster

            where = cluster(
                address,
                [a.spec for a in todo],
                gpus=gpus,
                scratch=scratch,
                trust_code=trust_remote_code,
            )
        with where as place:
            failures = _make(arms, out, jobs, retries, quiet, place)
    found = rows(grid, out, wanted.metrics, failures)
    for name, reason in failures.items():
        say(f"failed: {name}: {reason}")
    done = [folder for arm in arms if (folder := out / arm.name).joinpath("summary.json").exists()]
    if not done:
        raise SpecError(f"{out}: no run has finished; leave --table out to make them.")
    if json:
        print_json([asdict(row) for row in found])
    elif markdown:
        show(as_markdown(found, wanted.metrics))
    else:
        shown = [[*r.values.values(), *(str(r.metrics[m]) for m in wanted.metrics)] for r in found]
        head = [*found[0].values, *wanted.metrics]
        print_table(
            f"{counted(len(arms), 'run')}, {counted(len(wanted.seeds), 'seed')}", head, shown
        )
    if not table:
        from revive.report.sweep_page import write_sweep_report

        title = f"{spec.stem}: {counted(len(done), 'run')}"
        page = write_sweep_report(
            found, wanted.metrics, failures, done, out / "report", title=title
        )
        say(f"report: {page}", quiet=quiet)


def _make(
    arms: "Sequence[RunVariant]",
    out: Path,
    jobs: int | None,
    retries: int,
    quiet: bool,
    place: "Executor",
) -> dict[str, str]:
    """Make the runs, with progress; reason by name of those that failed."""
    from revive.cli.progress import RunProgress
    from revive.sweeps.variants import run_variants

    edits = [arm.spec.get("edits", {}).get("limit") for arm in arms]
    total = max((n for n in edits if isinstance(n, int)), default=0)
    with RunProgress([arm.label for arm in arms], total, quiet=quiet) as progress:
        return run_variants(
            arms,
            out,
            jobs=jobs,
            report=progress.follow,
            keep_going=True,
            retries=retries,
            place=place,
        )
