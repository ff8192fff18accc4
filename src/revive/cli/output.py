"""Results to stdout, as a table or as JSON; messages to stderr."""

import json
import math
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from revive.runs.schema import RunSpec


def print_json(value: Any) -> None:
    """One JSON document on stdout; non-finite numbers as strings."""
    sys.stdout.write(json.dumps(_finite(value), indent=2, ensure_ascii=False) + "\n")


def print_table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table on stdout."""
    table = Table(title=title, title_justify="left", header_style="bold")
    for index, name in enumerate(head):
        table.add_column(name, justify="left" if index == 0 else "default", overflow="fold")
    for row in rows:
        table.add_row(*row)
    Console().print(table)


def print_metrics(
    title: str,
    metrics: Mapping[str, float],
    intervals: Mapping[str, tuple[float, float]] | None = None,
) -> None:
    """Metrics on stdout, with their intervals where there are any."""
    known = intervals or {}
    rows = [[k, f"{v:.4g}", *([_span(known.get(k))] if known else [])] for k, v in metrics.items()]
    print_table(title, ["metric", "value", *(["95 % interval"] if known else [])], rows)


def _span(interval: tuple[float, float] | None) -> str:
    return "" if interval is None else f"{interval[0]:.4g} to {interval[1]:.4g}"


def say(message: str, *, quiet: bool = False) -> None:
    """A message on stderr."""
    if not quiet:
        sys.stderr.write(message + "\n")


def say_text(given: "RunSpec", resolved: "RunSpec", *, quiet: bool = False) -> None:
    """Say which text is read where nobody named one."""
    from revive.runs.resolve import text_note

    note = text_note(given, resolved)
    if note is not None:
        say(note, quiet=quiet)


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if value != value else ("Infinity" if value > 0 else "-Infinity")
    if isinstance(value, Mapping):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return value
