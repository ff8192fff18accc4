"""Stacked bars: what a guard removed at each site, and where the seconds went."""

import math
import textwrap
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes

from revive.report.figures.palette import fill, style
from revive.report.figures.svg import inline, panel, plain_log
from revive.report.reading.accounts import BLOCKS
from revive.report.reading.load import RunRecord

BLOCK_TITLES = {
    "uk_vk": "protected → protected (U_k, V_k)",
    "uk_rest": "into protected outputs (U_k, rest)",
    "rest_vk": "from protected inputs (rest, V_k)",
    "rest_rest": "outside both (rest, rest)",
}
"""What each block is called in legends."""


def short_sites(sites: Sequence[str]) -> list[str]:
    """Parameter names without the parts that all of them share."""
    parts = [site.split(".") for site in sites]
    if len(parts) < 2:
        return list(sites)
    head = _shared(parts)
    tail = _shared([p[head:][::-1] for p in parts])
    short = [".".join(p[head : len(p) - tail]) for p in parts]
    return [
        f"layer {s}" if s.isdigit() else s or site for s, site in zip(short, sites, strict=True)
    ]


def _shared(parts: Sequence[Sequence[str]]) -> int:
    count = 0
    for column in zip(*parts, strict=False):
        if len(set(column)) > 1:
            break
        count += 1
    return count


def removed_panel(record: RunRecord, name: str) -> str | None:
    """Share of the asked energy removed at each site, by block; None if nothing was."""
    if not any(site.removed_total > 0 for site in record.sites):
        return None
    sites = short_sites([s.site for s in record.sites])
    rows = [s.removed for s in record.sites]
    title = "\n".join(textwrap.wrap(record.label, 44))
    with panel(title, height=1.3 + 0.3 * len(sites)) as (figure, axes):
        _stack(axes, sites, rows, BLOCKS)
        axes.set_xlabel("share of asked energy removed")
        axes.set_xlim(0, min(1.0, max(0.05, 1.15 * max(s.removed_total for s in record.sites))))
        return inline(figure, name, f"Energy removed by site for {record.label}")


def leak_panel(records: Sequence[RunRecord]) -> str | None:
    """Largest realised leak at each site, on a logarithmic axis; None if not recorded."""
    drawn = [(i, r) for i, r in enumerate(records) if any(_leak(s.leak) for s in r.sites)]
    if not drawn:
        return None
    names = list(dict.fromkeys(s.site for _, r in drawn for s in r.sites))
    with panel("Realised leak", height=1.3 + 0.3 * len(names)) as (figure, axes):
        for index, record in drawn:
            look = style(index)
            points = [(s.leak, names.index(s.site)) for s in record.sites if _leak(s.leak)]
            axes.plot(
                [p[0] or math.nan for p in points],
                [p[1] for p in points],
                look.marker,
                color=look.colour,
                markersize=7,
            )
        axes.set_xscale("log")
        plain_log(axes.xaxis)
        axes.margins(x=0.15)
        axes.set_yticks(range(len(names)), short_sites(names))
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.set_xlabel("share of written energy in protected blocks")
        arms = ", ".join(r.label for _, r in drawn)
        return inline(figure, "leak", f"Realised leak by site for {arms}")


def seconds_panel(records: Sequence[RunRecord]) -> str | None:
    """Wall-clock time of every arm by phase; None if no time was recorded."""
    phases = phase_names(records)
    if not phases:
        return None
    labels = ["\n".join(textwrap.wrap(r.label, 20)) for r in records]
    lines = sum(label.count("\n") + 1.6 for label in labels)
    rows = [with_rest(r.seconds) for r in records]
    with panel("Seconds by phase", height=1.0 + 0.19 * lines) as (figure, axes):
        _stack(axes, labels, rows, phases)
        axes.set_xlabel("wall-clock time [s]")
        return inline(figure, "seconds", "Seconds by phase for every arm")


def phase_names(records: Sequence[RunRecord]) -> tuple[str, ...]:
    """Phases in order of appearance, with `other` last."""
    found = dict.fromkeys(p for r in records for p, s in with_rest(r.seconds).items() if s > 0)
    names = [p for p in found if p != "other"]
    return (*names, *(["other"] if "other" in found else []))


def with_rest(seconds: Mapping[str, float]) -> dict[str, float]:
    """Phases without the total, and what the phases do not explain of it as `other`."""
    phases = {p: s for p, s in seconds.items() if p != "total" and math.isfinite(s) and s >= 0}
    rest = seconds.get("total", 0.0) - sum(phases.values())
    if math.isfinite(rest) and rest > 0.5:
        phases["other"] = phases.get("other", 0.0) + rest
    return phases


def _stack(
    axes: Axes, labels: Sequence[str], rows: Sequence[Mapping[str, float]], parts: Sequence[str]
) -> None:
    """Horizontal bars from the top down, one a row, one fill a part."""
    left = [0.0] * len(rows)
    for index, part in enumerate(parts):
        widths = [row.get(part, 0.0) for row in rows]
        axes.barh(range(len(rows)), widths, left=left, color=fill(index), height=0.62)
        left = [a + b for a, b in zip(left, widths, strict=True)]
    axes.set_yticks(range(len(rows)), labels)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.grid(visible=False, axis="y")


def _leak(value: float | None) -> bool:
    return value is not None and math.isfinite(value) and value > 0
