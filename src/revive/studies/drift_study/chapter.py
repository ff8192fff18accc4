"""The drift study's part of the page. No torch."""

from collections.abc import Sequence
from pathlib import Path

from revive.report.study_page import Chapter
from revive.studies.drift_study.drift_figures import drift_figures
from revive.studies.drift_study.study import drift_study
from revive.studies.figures import write_figures


def drift_chapter(folders: Sequence[Path], out: Path, *, paper: bool = False) -> Chapter:
    """Compare runs; write the figures below `out`.

    Args:
        folders: Run folders, measured by `general` and by `spectrum` with `detail`.
        out: Where `figures` is.
        paper: As `write_figures`.

    Raises:
        SpecError: No folder, or one that cannot be read.
    """
    found = drift_study(folders)
    arms = len({trace.group for trace in found.traces})
    note = (
        f"{len(found.traces)} runs of {arms} arms. Overlap is ||U_k(W)^T U_k(W0)||_F^2 / k, the "
        "mean over the edited projections; the paper does not define its similarity curves."
    )
    figures = write_figures(drift_figures(found.traces), out / "figures", paper=paper)
    return Chapter("Drift", note, figures, found.tables())
