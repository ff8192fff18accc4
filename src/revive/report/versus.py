"""Every run against the first one, edit by edit: which differences are more than noise."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from revive.metrics.table import metric
from revive.report.paired import ALPHA, Paired, compare_outcomes
from revive.report.reading.load import RunRecord
from revive.report.tables import Table, TableCell, TableRow, csv_text

SHOWN = ("efficacy", "paraphrase", "neighborhood", "score", "efficacy_exact", "paraphrase_exact")
"""Metrics in the printed table; the file of numbers has all of them."""


@dataclass(frozen=True, slots=True)
class Versus:
    """One run against the reference.

    Attributes:
        label: The run.
        reference: What it is compared with.
        pairs: One comparison a metric; p is corrected for the number of comparisons on the page.
        unpaired: Why there are none; empty where there are.
    """

    label: str
    reference: str
    pairs: tuple[Paired, ...]
    unpaired: str = ""


def against_first(records: Sequence[RunRecord]) -> tuple[Versus, ...]:
    """Compare every run with the first; empty for a single run.

    The p of all comparisons are corrected together (Holm): with many metrics and arms some
    differences would look real by chance alone.
    """
    found = [_against(record, records[0]) for record in records[1:]]
    corrected = iter(_holm([pair.p for one in found for pair in one.pairs]))
    return tuple(
        replace(one, pairs=tuple(replace(pair, p=next(corrected)) for pair in one.pairs))
        for one in found
    )


def _against(record: RunRecord, reference: RunRecord) -> Versus:
    pairs: list[Paired] = []
    why = ""
    if record.stream is None or reference.stream is None:
        why = "their journals do not say which edits they made"
    elif record.stream != reference.stream:
        why = f"not the edits of {reference.label}"
    elif record.edits != reference.edits:
        why = f"they stand at {record.edits:,} and {reference.edits:,} edits"
    else:
        for probe, outcomes in record.outcomes.items():
            if probe in reference.outcomes:
                pairs += compare_outcomes(outcomes, reference.outcomes[probe])
        if not pairs:
            why = "no edit was measured in both, or outcomes were not kept"
    return Versus(record.label, reference.label, tuple(pairs), why)


def _holm(p: Sequence[float]) -> list[float]:
    """Holm's step-down correction of several p."""
    order = sorted(range(len(p)), key=lambda i: p[i])
    corrected = [1.0] * len(p)
    highest = 0.0
    for rank, i in enumerate(order):
        highest = max(highest, min(1.0, (len(p) - rank) * p[i]))
        corrected[i] = highest
    return corrected


def versus_table(found: Sequence[Versus]) -> Table | None:
    """Differences as a table: one row a run; what is more than noise and better is marked.

    Returns:
        None where nothing can be paired.
    """
    known = {pair.metric for one in found for pair in one.pairs}
    columns = tuple(metric(name) for name in SHOWN if name in known)
    rows: list[TableRow] = []
    for one in found:
        pairs = {pair.metric: pair for pair in one.pairs}
        if pairs:
            cells = tuple(_cell(pairs.get(m.name), m.direction) for m in columns)
            rows.append(TableRow(f"{one.label} − {one.reference}", cells))
    return Table(columns, tuple(rows)) if rows and columns else None


def _cell(pair: Paired | None, direction: str) -> TableCell:
    if pair is None:
        return TableCell("–")
    text = f"{pair.difference:+.3f} [{pair.low:+.3f}, {pair.high:+.3f}]"
    if pair.within_noise:
        return TableCell(f"≈ {text}", pair.difference)
    better = (pair.difference > 0) == (direction == "higher")
    return TableCell(text, pair.difference, best=better and direction != "none")


def versus_csv(found: Sequence[Versus]) -> str:
    """Every comparison, one a line, in full precision."""
    rows = [["arm", "reference", "metric", "edits", "difference", "low", "high", "p_holm", "noise"]]
    for one in found:
        rows += [
            [
                one.label,
                one.reference,
                pair.metric,
                str(pair.edits),
                *(repr(x) for x in (pair.difference, pair.low, pair.high, pair.p)),
                str(pair.within_noise).lower(),
            ]
            for pair in one.pairs
        ]
    return csv_text(rows)


def versus_note(found: Sequence[Versus]) -> str:
    """How to read the table, and which runs could not be paired."""
    counts = [pair.edits for one in found for pair in one.pairs]
    note = (
        f"Difference in each metric over the edits that both runs measured ({min(counts):,} or "
        "more), each edit paired with itself; 95 % bootstrap interval. ≈: within noise, p above "
        f"{ALPHA:g} in a paired permutation test, corrected for all comparisons (Holm). It speaks "
        "of these edits and this seed: another seed is another stream."
        if counts
        else ""
    )
    apart = [f"{one.label}: {one.unpaired}" for one in found if one.unpaired]
    return " ".join([note, *([f"Not paired: {'; '.join(apart)}."] if apart else [])]).strip()
