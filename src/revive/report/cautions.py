"""What a reader must know before trusting a comparison of these runs."""

from collections.abc import Sequence

from revive.report.reading.load import RunRecord


def cautions(records: Sequence[RunRecord]) -> list[str]:
    """Sentences on what stands in the way of comparing these runs."""
    found: list[str] = []
    for what, values in (
        ("model", {r.model for r in records}),
        ("number of edits", {r.edits for r in records}),
        ("order of the edits", {(r.order, r.seed) for r in records}),
    ):
        if len(values) > 1:
            found.append(f"The arms differ in the {what}: read the comparison with care.")
    unfinished = [f"{r.label} (at edit {r.edits:,})" for r in records if not r.finished]
    if unfinished:
        found.append(f"Not finished: {', '.join(unfinished)}.")
    failed = [f"{len(r.failed):,} in {r.label}" for r in records if r.failed]
    if failed:
        found.append(f"Edits that failed: {', '.join(failed)}.")
    if len(records) > 1 and len({(r.order, r.seed) for r in records}) == 1:
        found.append("All arms saw one order of the edits; nothing is averaged over orders.")
    return found
