"""`revive run` and `revive resume`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from revive.cli.interrupt import keeps
from revive.cli.model_options import TrustRemoteCode
from revive.cli.output import print_json, print_metrics, say, say_text
from revive.wording import counted


def run(
    context: typer.Context,
    spec: Annotated[Path, typer.Argument(help="Spec file (YAML); see 'revive check'.")],
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Override a key: guard.energy=0.2")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Run folder \\[default: runs/<spec's name>].")
    ] = None,
    sink: Annotated[
        list[str] | None,
        typer.Option("--sink", help="Also send the journal there; see 'revive list sinks'."),
    ] = None,
    trust_remote_code: TrustRemoteCode = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Edit a model batch by batch, as a spec says; everything is journalled.

    Example: revive run recipes/lab.yaml --set guard.energy=0.2 --out runs/lab
    """
    from revive.run_folder.store import RunFolder
    from revive.spec.parsing import (
        load_spec,
        named_sinks,
        read_model_config,
        resolve,
        with_code,
        with_sinks,
    )

    read = with_sinks(load_spec(spec, set_ or ()), named_sinks(sink or ()))
    folder = out if out is not None else Path("runs") / spec.stem
    RunFolder.check_free(folder)
    read = with_code(read, trust_remote_code)
    resolved = resolve(read, read_model_config(read.model.name, read.model.revision))
    say_text(read, resolved, quiet=quiet)
    from revive.runs.loop import start

    keeps(context, folder, f"'revive resume {folder}'")
    with _watch(resolved.label or resolved.editor.name, quiet) as observer:
        summary = start(resolved, folder, observer, trust_code=trust_remote_code)
    _finish(folder, summary, json)


def resume(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="run", help="Run folder.")],
    sink: Annotated[
        list[str] | None,
        typer.Option("--sink", help="Also send the journal there; see 'revive list sinks'."),
    ] = None,
    trust_remote_code: TrustRemoteCode = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Continue a run exactly where it stopped; nothing committed is computed again.

    A sink that is named here is told of the run from its beginning, a finished one included.

    Examples:
        revive resume runs/lab
        revive resume runs/lab --sink tensorboard
    """
    from revive.spec.parsing import named_sinks

    more = named_sinks(sink or ())
    from revive.runs.loop import resume as resume_run

    keeps(context, folder, f"'revive resume {folder}'")
    with _watch(folder.name, quiet) as observer:
        summary = resume_run(folder, observer, sinks=more, trust_code=trust_remote_code)
    _finish(folder, summary, json)


def _watch(label: str, quiet: bool):
    from revive.cli.watch import watch

    return watch(label, quiet)


def _finish(folder: Path, summary: dict[str, Any], json: bool) -> None:
    from revive.runs.failures import check_made

    failed = check_made(folder)
    if failed is not None:
        say(failed)
    tell_run(str(folder), folder, summary, json=json)
    if json:
        return
    say(f"run folder: {folder}; 'revive report {folder} --out report' makes a page.")


def tell_run(title: str, folder: Path, summary: dict[str, Any], *, json: bool) -> None:
    """What a run's end is told by: which edits took, and the metrics.

    Args:
        title: Name of what was made.
        folder: The run folder.
        summary: Of the run.
        json: One JSON document on stdout instead of tables.
    """
    from revive.cli.edit_table import print_edits, tell_missed
    from revive.run_folder.edit_table import read_table
    from revive.run_folder.store import RunFolder

    table = read_table(folder)
    whole = RunFolder(folder).edits_csv
    where = f"{whole} has all of them" if whole.is_file() else "'revive report' writes all of them"
    if json:
        print_json(summary)
    else:
        print_edits(title, table, where)
        unsure: Any = summary.get("intervals") or {}
        print_metrics(
            f"{title}: after {counted(summary['edits'], 'edit')}",
            summary.get("final") or {},
            unsure.get("final"),
        )
    tell_missed(table, folder)
