"""The tables of the perturbation study. No torch."""

from typing import TYPE_CHECKING

from revive.studies.sensitivity import loss, trends
from revive.studies.table import StudyTable, estimate_text

if TYPE_CHECKING:
    from revive.studies.perturb import Perturbation

_EQUAL = {"norm": "Frobenius norm", "effect": "effect on inputs"}


def perturbation_tables(found: "Perturbation") -> list[StudyTable]:
    """The order of the bands, and the loss in each."""
    return [*(_orders(found, m) for m in found.intact), *(_bands(found, m) for m in found.intact)]


def _orders(found: "Perturbation", measure: str) -> StudyTable:
    rows = [
        (
            t.setting.scheme,
            t.setting.side,
            _EQUAL[t.setting.scaling],
            estimate_text(t.correlation, 2),
            estimate_text(t.top),
            estimate_text(t.bottom),
            estimate_text(t.isotropic),
            t.order,
        )
        for t in trends(found, measure)
    ]
    return StudyTable(
        f"Which bands does {measure} hang on?",
        "order: rank correlation over bands of singular value and loss, mean over draws of noise "
        "and levels; Student 95 % intervals over the draws. Losses at the largest level. "
        "sensitive: larger or smaller singular values, or no order shown.",
        ("bands", "side", "equal", "order", "top band", "bottom band", "isotropic", "sensitive"),
        tuple(rows),
    )


def _bands(found: "Perturbation", measure: str) -> StudyTable:
    rows = [
        (
            "isotropic" if row.setting is None else row.setting.scheme,
            "all" if row.setting is None else row.setting.side,
            _EQUAL[row.scaling],
            "-" if row.setting is None else str(row.band + 1),
            "-" if row.singular is None else f"{row.singular:.3f}",
            f"{row.level:g}",
            estimate_text(loss(row, measure)),
        )
        for row in found.rows
    ]
    return StudyTable(
        f"Loss of {measure} to noise in bands of the spectrum",
        f"Mean over draws with Student 95 % interval; intact {found.intact[measure]:.3f}. "
        "Band 1 holds the largest singular values; s: its mean singular value over the largest; "
        "size: of the noise, as a share of the weight's.",
        ("bands", "side", "equal", "band", "s", "size", "loss"),
        tuple(rows),
    )
