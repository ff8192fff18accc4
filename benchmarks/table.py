"""The result as Markdown: one table a model, what it ran on above."""

from collections.abc import Mapping, Sequence
from typing import Any

_COLUMNS = (
    "part",
    "seconds",
    "floor",
    "set by",
    "over floor",
    "of matmul rate",
    "done / needed",
    "of the batch",
    "plain way, s",
    "speed-up",
    "difference",
)

_LEGEND = """\
*floor*: operations that the exact method needs over the measured rate of products, or bytes over
the measured bandwidth, whichever is larger (`launch`: one smallest operation); *of matmul rate*:
needed operations per second over that rate; *done / needed*: operations counted in what ran, with
padding and repetition, over those needed; *of the batch*: over the seconds of the whole batch;
*plain way*: the literature's, in the same process; *difference*: of the two results, relative.
"""


def markdown(result: Mapping[str, Any]) -> str:
    """The whole page."""
    env = result["environment"]
    lines = [
        "# Benchmark",
        "",
        f"{result['date']}, git {result['revision']}, {env['device'] or 'CPU'}, "
        f"{env['cpu_count']} cores, {env['threads']} threads, "
        f"{env['memory_bytes'] / 2**30:.0f} GiB, Python {env['python']}, "
        + ", ".join(f"{k} {v}" for k, v in env["versions"].items() if v),
        "",
        f"Load of the machine before the run: {result['load']:.2f} (1 is one busy core). Times of "
        "a machine that does other work say little.",
        "",
        _LEGEND,
    ]
    for shape in result["shapes"]:
        lines += ["", f"## {shape['name']}", "", shape["about"], "", _rates(shape["machine"]), ""]
        lines += _table(shape["rows"])
        lines += ["", *_notes(shape["rows"])]
        few = shape.get("end_to_end")
        if few:
            lines += [
                "",
                f"`revive edit smollm2` with {few['facts']} facts, from the shell to the saved "
                f"folder: {few['first']:.0f} s with nothing but the model in the cache, "
                f"{few['later']:.0f} s with what that has kept.",
            ]
        lines += ["", *(f"- {claim}" for claim in shape["targets"])] if shape["targets"] else []
    return "\n".join(lines) + "\n"


def _rates(machine: Mapping[str, Any]) -> str:
    rates = ", ".join(f"{v / 1e9:,.1f} GFLOP/s {k}" for k, v in machine["matmul"].items())
    return (
        f"Measured: {rates}; {machine['bandwidth'] / 1e9:,.1f} GB/s. Between the beginning and the "
        f"end of the run the rates changed by up to {machine['change']:.0%}."
    )


def _table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = [
        "| " + " | ".join(_COLUMNS) + " |",
        "|" + "|".join([":--", "--:", "--:", ":--", *["--:"] * 7]) + "|",
    ]
    for row in rows:
        cells = (
            row["part"],
            _number(row["seconds"]),
            _number(row["floor"]),
            row["bound"],
            f"{row['over_floor']:.1f}",
            f"{row['share_of_matmul_rate']:.0%}",
            "–" if row["excess"] is None else f"{row['excess']:.2f}",
            "–" if row["share_of_batch"] is None else f"{row['share_of_batch']:.2%}",
            "–" if row["plain"] is None else _number(row["plain"]),
            "–" if row["speedup"] is None else f"{row['speedup']:.1f}",
            "–" if row["difference"] is None else f"{row['difference']:.0e}",
        )
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _notes(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    notes: list[str] = []
    for row in rows:
        said = [row["note"]] if row["note"] else []
        if row["speedup_of_floors"]:
            said.append(f"by the floors of both, {row['speedup_of_floors']:.1f} x")
        if row["scaled"]:
            said.append(f"the plain way was {row['scaled']}")
        if said:
            notes.append(f"- {row['part']}: {'; '.join(said)}.")
    return notes


def _number(seconds: float) -> str:
    return f"{seconds:.3g}" if seconds < 100 else f"{seconds:,.0f}"
