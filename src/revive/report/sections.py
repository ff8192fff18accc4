"""The sections of the page; each is empty when the runs hold nothing for it."""

from collections.abc import Sequence
from html import escape

from revive.report.figures.bars import (
    BLOCK_TITLES,
    leak_panel,
    phase_names,
    removed_panel,
    seconds_panel,
)
from revive.report.figures.frontier import frontier_panel
from revive.report.figures.plots import curve_panel, retention_panel
from revive.report.legend import arms_legend, metrics_legend, parts_legend
from revive.report.markup import cells, html_table, section
from revive.report.metrics import metric
from revive.report.reading.accounts import BLOCKS
from revive.report.reading.load import RunRecord
from revive.report.tables import everything

SKILL = ("efficacy", "paraphrase", "neighborhood", "general", "fact_recall", "perplexity")
DRIFT = ("subspace_overlap", "tail_ratio", "weight_norm_ratio")
SHOWN_FAILURES = 50


def frontier(records: Sequence[RunRecord]) -> str:
    """Edit success over ability kept."""
    drawn = frontier_panel(records)
    if drawn is None:
        return ""
    note = (
        "Up and to the right is better. Each path follows one arm through the stream; the large "
        "mark is where it ended. The unedited model is the cross, or the dotted line where its "
        "score is not defined."
    )
    return section("The frontier", note, arms_legend(records), f"<figure>{drawn}</figure>")


def curves(records: Sequence[RunRecord]) -> str:
    """Skills over the stream, and the spectral drift under them."""
    legend = arms_legend(records, unedited=True)
    skill = _grid([curve_panel(records, name) for name in SKILL])
    drift = _grid([curve_panel(records, name) for name in DRIFT])
    banded = any(p.sample for r in records for p in r.curve)
    note = "Measured with the model as it stood after that many edits, on all edits so far."
    if banded:
        note += " Bands are 95 % binomial intervals of the measured sample."
    first = section("Over the stream of edits", note, legend, skill) if skill else ""
    under = "How far the edited weights have moved from the original ones; same axis of edits."
    second = section("Spectral drift", under, legend, drift) if drift else ""
    return first + second


def retention(records: Sequence[RunRecord]) -> str:
    """Efficacy by age of the edit."""
    drawn = retention_panel(records)
    if drawn is None:
        return ""
    note = "What the model at the end of the stream still holds of edits written long ago."
    return section("Retention", note, arms_legend(records), f"<figure>{drawn}</figure>")


def guard(records: Sequence[RunRecord]) -> str:
    """What the guards removed and what leaked, by site."""
    panels = [removed_panel(r, f"removed-{i}") for i, r in enumerate(records)]
    removed = _grid(panels)
    leak = leak_panel(records)
    if not removed and leak is None:
        return ""
    note = (
        "Share of each update's energy (squared Frobenius norm) that the guard removed before the "
        "write, in the four blocks cut by the protected output directions U_k and input "
        "directions V_k. The realised leak is what is found in the protected blocks after the "
        "write, rounding included."
    )
    parts = [parts_legend([BLOCK_TITLES[b] for b in BLOCKS]), removed] if removed else []
    if leak is not None:
        parts += [arms_legend(records), _grid([leak])]
    return section("Guard accounting", note, *parts, _site_table(records))


def _site_table(records: Sequence[RunRecord]) -> str:
    head = ["Site", "Arm", "k", "Asked", "Applied", *BLOCKS, "Leak"]
    rows: list[str] = []
    for record in records:
        for site in record.sites:
            shares = [f"{site.removed[b]:.4f}" for b in BLOCKS]
            leak = "–" if site.leak is None else f"{site.leak:.1e}"
            rank = "–" if site.rank is None else str(site.rank)
            values = [record.label, rank, f"{site.asked:.4g}", f"{site.applied:.4g}"]
            rows.append(cells(site.site, [*values, *shares, leak]))
    table = html_table(head, rows)
    return f"<details><summary>Numbers by site</summary>{table}</details>"


def seconds(records: Sequence[RunRecord]) -> str:
    """Wall-clock time by phase."""
    drawn = seconds_panel(records)
    if drawn is None:
        return ""
    memory = [
        f"{escape(r.label)} {r.peak_memory_bytes / 2**30:.2f} GiB"
        + (f", on GPUs {r.peak_gpu_memory_bytes / 2**30:.2f}" if r.peak_gpu_memory_bytes else "")
        for r in records
        if r.peak_memory_bytes
    ]
    note = "Time as measured on the machine of each run."
    peak = f'<p class="small">Peak memory: {"; ".join(memory)}.</p>' if memory else ""
    legend = parts_legend(phase_names(records))
    return section("Seconds", note, legend, f"<figure>{drawn}</figure>", peak)


def failed(records: Sequence[RunRecord]) -> str:
    """Edits that could not be made, with reasons."""
    if not any(r.failed for r in records):
        note = "Every edit was written; whether it took is told edit by edit."
        return section("Edits that could not be made", note)
    parts: list[str] = []
    for record in records:
        if not record.failed:
            continue
        rows = [
            f'<tr><th scope="row">{escape(f.id)}</th><td class="text">{escape(f.reason)}</td></tr>'
            for f in record.failed[:SHOWN_FAILURES]
        ]
        left = len(record.failed) - len(rows)
        more = f'<p class="small">and {left:,} more in the journal.</p>' if left else ""
        title = f"<h3>{escape(record.label)}: {len(record.failed):,}</h3>"
        parts.append(title + html_table(["Edit", "Reason"], rows, "reasons") + more)
    return section("Edits that could not be made", "", *parts)


def definitions(records: Sequence[RunRecord]) -> str:
    """What every metric on the page means."""
    used = {m.name for m in everything(records).columns}
    used |= {name for r in records for p in r.curve for name in p.metrics}
    shown = [name for name in (*SKILL, *DRIFT) if name in used]
    names = list(dict.fromkeys([m.name for m in everything(records).columns] + shown))
    return section("What the numbers mean", "", metrics_legend([metric(n) for n in names]))


def _grid(panels: Sequence[str | None]) -> str:
    drawn = [f"<div>{p}</div>" for p in panels if p is not None]
    return f'<div class="panels">{"".join(drawn)}</div>' if drawn else ""
