"""`revive list`: what can be named in a spec."""

import sys
from dataclasses import asdict
from enum import StrEnum
from typing import Annotated

import typer

from revive import registry
from revive.cli.output import print_json, print_table
from revive.errors import SpecError


class Group(StrEnum):
    """What to list."""

    editors = "editors"
    guards = "guards"
    models = "models"
    datasets = "datasets"
    probes = "probes"
    sinks = "sinks"
    tasks = "tasks"
    metrics = "metrics"
    keys = "keys"


def list_entries(
    group: Annotated[Group, typer.Argument(help="What to list.")],
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    markdown: Annotated[
        bool,
        typer.Option("--markdown", help="Print the page of metrics, or of keys."),
    ] = False,
) -> None:
    """Show the editors, guards, model families, datasets, probes, sinks or tasks there are.

    Or the metrics that probes report: what each means, its unit, and which way is better; or every
    key of a spec, which --set takes too: what it takes, its default, what it does.
    """
    if group is Group.keys:
        _keys(json=json, markdown=markdown)
        return
    if group is Group.metrics:
        _metrics(json=json, markdown=markdown)
        return
    if markdown:
        raise SpecError(f"--markdown: only for metrics and keys, not for {group.value}.")
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


def _metrics(*, json: bool, markdown: bool) -> None:
    from revive.metrics.page import BETTER, UNITS, page
    from revive.metrics.table import METRICS

    if markdown:
        sys.stdout.write(page())
    elif json:
        print_json([asdict(m) for m in METRICS.values()])
    else:
        head = ["name", "what it means", "unit", "better", "source"]
        rows = [
            [m.name, m.definition, UNITS[m.unit], BETTER[m.direction], m.source]
            for m in METRICS.values()
        ]
        print_table("metrics", head, rows)


def _keys(*, json: bool, markdown: bool) -> None:
    from revive.spec.reference import page, spec_keys

    if markdown:
        sys.stdout.write(page())
    elif json:
        print_json([asdict(key) for key in spec_keys()])
    else:
        rows = [[k.name, k.meaning, k.values, k.default, k.section] for k in spec_keys()]
        print_table("keys", ["key", "what it does", "takes", "default", "of"], rows)
