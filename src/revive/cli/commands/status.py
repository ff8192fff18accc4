"""`revive status`: where a run stands."""

from math import isfinite
from pathlib import Path
from typing import Annotated

import typer

from revive.cli.output import print_json, print_metrics, say
from revive.metrics.per_edit import took
from revive.wording import counted


def status(
    folder: Annotated[Path, typer.Argument(metavar="run", help="Run folder.")],
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show how far a run is, its latest measurements, and what to do next; loads no model."""
    from revive.runs.status import run_status

    found = run_status(folder)
    if json:
        print_json(found.as_dict())
        return
    parts = {"could not be made": found.failed, "taken out again": found.removed}
    apart = "".join(f", {count:,} {what}" for what, count in parts.items() if count)
    say(
        f"{folder}: {found.state}; {found.edits_made:,} of {counted(found.edits_total, 'edit')} in "
        f"{counted(found.step, 'batch')}{apart}, "
        f"{found.seconds:.0f} s of work."
    )
    if found.answers is not None:
        say(f"{took(**found.answers)}.")
    if found.metrics:
        print_metrics(f"measured after {counted(found.measured_at, 'edit')}", found.metrics)
    if found.edits_left is not None and isfinite(found.edits_left):
        say(f"about {found.edits_left:,.0f} more edits until the alarm's level, if it goes on so.")
    say(found.advice)
