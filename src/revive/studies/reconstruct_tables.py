"""The tables of the reconstruction study. No torch."""

from typing import TYPE_CHECKING

from revive.studies.recovery import LEAST, beyond_energy, dominance, recovery
from revive.studies.table import StudyTable, range_text

if TYPE_CHECKING:
    from revive.studies.reconstruct import Reconstruction, Selection

_ORDER: "tuple[Selection, ...]" = ("top", "bottom", "random, equal count", "random, equal energy")


def reconstruction_tables(found: "Reconstruction") -> list[StudyTable]:
    """Verdicts, where the energy lies, and every curve."""
    return [_verdicts(found), _energy(found), *(_curve(found, m) for m in found.intact)]


def _verdicts(found: "Reconstruction") -> StudyTable:
    rows: list[tuple[str, ...]] = []
    for measure, intact in found.intact.items():
        verdict = dominance(found, measure)
        cells = (measure, f"{intact:.3f}", f"{found.zero[measure]:.3f}")
        if verdict == "no effect":
            rows.append((*cells, "-", "-", "-", "-", "-", "-", "-", verdict))
            continue
        curves = {s: recovery(found, measure, s) for s in _ORDER}
        top = curves["top"]
        rows.append(
            (
                *cells,
                f"{top.back_at(0.6):.1%}",
                f"{top.back_at(0.9):.1%}",
                *(range_text(curves[s].areas()) for s in _ORDER),
                f"{beyond_energy(found, measure):+.2f}",
                verdict,
            )
        )
    return StudyTable(
        "Do the large singular values carry the ability?",
        "p60, p90: share of the top components from which on 60 %, 90 % of what zeroing the "
        "weights takes is back. Area under the recovered share over p, mean and range over seeds; "
        "0.5 where all components are worth the same. beyond energy: area of the top components "
        "less the best of random ones of equal energy. holds: top above and bottom below every "
        "random selection of equal count; reversed: both the other way round; no effect: zeroing "
        f"the weights costs less than {LEAST:.0%}, or no more than a score of so many items moves "
        "by chance.",
        (
            "ability",
            "intact",
            "weights zero",
            "p60",
            "p90",
            *(f"area, {s}" for s in _ORDER),
            "beyond energy",
            "dominance",
        ),
        tuple(rows),
    )


def _energy(found: "Reconstruction") -> StudyTable:
    rows = [(f"{e:.0%}", f"{share:.1%}") for e, share in found.holding.items()]
    return StudyTable(
        "Where the energy lies",
        "Share of the components, largest first, that holds this share of the summed singular "
        f"values; mean over {len(found.sites)} weights.",
        ("energy", "components"),
        tuple(rows),
    )


def _curve(found: "Reconstruction", measure: str) -> StudyTable:
    held = {row.share: row.energy for row in found.rows if row.selection == "top"}
    rows = [
        (
            f"{share:.0%}",
            f"{energy:.0%}",
            *(
                range_text([dict(c)[share] for c in recovery(found, measure, s).curves])
                for s in _ORDER
            ),
        )
        for share, energy in held.items()
    ]
    return StudyTable(
        f"{measure} recovered",
        "0 with the weights at zero, 1 intact; mean and range over seeds. energy: share of the "
        "summed singular values in the top p.",
        ("p", "energy", *_ORDER),
        tuple(rows),
    )
