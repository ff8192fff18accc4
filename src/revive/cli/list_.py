"""`revive list`: what can be named in a spec."""

from enum import StrEnum
from typing import Annotated

import typer

from revive import registry
from revive.cli.output import print_json, print_table


class Group(StrEnum):
    """What to list."""

    editors = "editors"
    guards = "guards"
    models = "models"
    datasets = "datasets"
    probes = "probes"
    sinks = "sinks"


def list_entries(
    group: Annotated[Group, typer.Argument(help="What to list.")],
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show the editors, guards, model families, datasets, probes or sinks that a spec can name."""
    entries = registry.describe(group.value)
    if json:
        print_json(
            [
                {"name": e.name, "paper": e.paper, "summary": e.summary, "origin": e.origin}
                for e in entries
            ]
        )
        return
    rows = [[e.name, e.summary, e.paper, e.origin] for e in entries]
    print_table(f"{group.value}", ["name", "what it does", "paper", "from"], rows)
