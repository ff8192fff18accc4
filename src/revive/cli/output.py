"""Results to stdout, as a table or as JSON; messages to stderr.

The one owner of foreign text on its way to a terminal: an id, a label, a field of a file is shown
as it is, whatever it holds, and commands neither the terminal nor the library that draws tables.
"""

import json
import math
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from revive.wording import commands, plain

if TYPE_CHECKING:
    from revive.spec.schema import RunSpec


def print_json(value: Any) -> None:
    """One JSON document on stdout; non-finite numbers as strings."""
    text = json.dumps(_finite(value), indent=2, ensure_ascii=False)
    # JSON's own spelling of what it leaves as it is.
    safe = (f"\\u{ord(c):04x}" if c != "\n" and commands(c) else c for c in text)
    sys.stdout.write("".join(safe) + "\n")


def show(text: str, *, nl: bool = True) -> None:
    """Text on stdout."""
    sys.stdout.write(plain(text) + ("\n" if nl else ""))


def print_table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table on stdout."""
    table = Table(title=Text(plain(title)), title_justify="left", header_style="bold")
    for index, name in enumerate(head):
        table.add_column(name, justify="left" if index == 0 else "default", overflow="fold")
    for row in rows:
        table.add_row(*(Text(plain(cell)) for cell in row))
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
        sys.stderr.write(plain(message) + "\n")


def say_text(given: "RunSpec", resolved: "RunSpec", *, quiet: bool = False) -> None:
    """Say which text is read where nobody named one."""
    from revive.spec.resolve import text_note

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
