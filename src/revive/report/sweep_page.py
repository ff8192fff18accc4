"""The report of a sweep: its table over the seeds, what failed, then its runs side by side."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from revive.io.atomic import write_text
from revive.report.markup import cells, html_table, section
from revive.report.page import Report
from revive.sweeps.table import SweepRow, markdown


def write_sweep_report(
    table: Sequence[SweepRow],
    metrics: Sequence[str],
    failures: Mapping[str, str],
    runs: Sequence[Path],
    out: Path,
    *,
    title: str,
) -> Path:
    """Write the page of `write_report`, with the sweep's table ahead; that as `sweep.md` beside it.

    Args:
        table: A row per combination.
        metrics: Columns.
        failures: Reason by name of a run that ended with an error.
        runs: Folders of those that finished.
        out: Folder to write to.
        title: Head of the page.

    Returns:
        The path of `index.html`.

    Raises:
        SpecError: One of the folders is not a run.
        PrerequisiteError: The disk is full.
    """
    write_text(out / "sweep.md", markdown(table, metrics) + "\n")
    keys = list(table[0].values)
    body = [
        cells(", ".join(row.values.values()), [*(str(row.metrics[m]) for m in metrics), _runs(row)])
        for row in table
    ]
    note = f"By {', '.join(keys)}: mean over the seeds ± standard deviation."
    lead = section("The grid", note, html_table(["", *metrics, "runs"], body, "headline"))
    if failures:
        failed = [cells(name, [reason]) for name, reason in failures.items()]
        lead += section("Runs that failed", "", html_table(["Run", "Reason"], failed))
    return Report.of(runs).write(out, title=title, lead=lead)


def _runs(row: SweepRow) -> str:
    every = row.finished + len(row.failed)
    return str(row.finished) if row.finished == every else f"{row.finished} of {every}"
