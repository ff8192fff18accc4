"""Spectral drift of the edited weights, from the ledger alone."""

from collections.abc import Sequence
from statistics import fmean
from typing import ClassVar, final

import torch
from torch import Tensor

from revive.linalg.basis import SpectralBasis
from revive.linalg.drift import Drift, drift
from revive.linalg.tracking import track
from revive.models.forward.precision import products
from revive.models.ledger import Ledger
from revive.probes.base import Measurement, Probe, ProbeContext

# The overlap is 1 to the square of this sine.
_SAME = 1e-5


@final
class SpectrumProbe(Probe):
    """Overlap of the top singular subspaces with W0's, tail over s_k, and norm growth.

    Of a mixture's experts only those count that were written to so far.

    REVIVE does not publish the definition of its similarity curves (arXiv 2601.11042, figure on
    drift); here it is the projector overlap ||U_k(W)^T U_k(W0)||_F^2 / k, mean of left and right.

    Where the original's directions provably still lead, which under a guard of them costs two
    products to know, the overlap is 1 and nothing is decomposed.

    With `detail` principal angles, the shares of the cumulative update in the four blocks, its
    stable rank and entropy, and a histogram of the singular values come in addition, by site. On a
    GPU the subspaces of large weights are then tracked instead of decomposed at every measurement
    (the overlap is good to 1e-3, see `linalg.tracking`): after a resume, values of tracked sites
    agree with those of an undisturbed run to that tolerance, not to the bit.
    """

    name: ClassVar[str] = "spectrum"
    summary: ClassVar[str] = "subspace overlap with W0, tail over s_k, weight norm"

    def __init__(self, energy: float = 0.1, detail: bool = False) -> None:
        """Set the share of summed singular values that defines the dominant subspace."""
        self.energy = energy
        self.detail = detail
        self._bases: dict[str, SpectralBasis] = {}
        self._guesses: dict[str, Tensor] = {}
        self._of: Ledger | None = None

    @products("strict")
    def measure(self, context: ProbeContext) -> Measurement:
        """Means over sites (the tail ratio: the worst site)."""
        ledger = context.ledger
        if self._of is not ledger:
            self._of = ledger
            self._guesses.clear()
            self._bases = {}
        for key in ledger.used:
            if key not in self._bases:
                self._bases[key] = SpectralBasis.fit(ledger.original(key), energy=self.energy)
        return self._detailed(ledger) if self.detail else self._brief(ledger)

    def _brief(self, ledger: Ledger) -> Measurement:
        overlap: list[float] = []
        tail: list[float] = []
        growth: list[float] = []
        for key in ledger.used:
            basis, weight = self._bases[key], ledger.weight(key)
            worst = basis.tail_ratio(weight)
            tail.append(worst)
            if basis.sine_to_dominant(weight, worst) <= _SAME:
                overlap.append(1.0)
            else:
                shared = basis.overlap(SpectralBasis.fit(weight, rank=basis.rank))
                overlap.append(0.5 * (shared.left + shared.right))
            norm = torch.linalg.matrix_norm(weight)
            growth.append(float(norm / torch.linalg.matrix_norm(ledger.original(key))))
        if not overlap:
            # Nothing but experts, and none of them touched.
            return Measurement({"subspace_overlap": 1.0, "weight_norm_ratio": 1.0})
        return Measurement(
            {
                "subspace_overlap": sum(overlap) / len(overlap),
                "tail_ratio": max(tail),
                "weight_norm_ratio": sum(growth) / len(growth),
            }
        )

    def _detailed(self, ledger: Ledger) -> Measurement:
        found: dict[str, Drift] = {}
        for key in ledger.used:
            basis = self._bases[key]
            if basis.rank == 0:
                continue  # a zero weight has no direction to drift from
            now = track(ledger.weight(key), basis.rank, self._guesses.get(key))
            self._guesses[key] = now.guess
            found[key] = drift(basis, ledger.original(key), ledger.delta(key), now)
        sites = {key: site.as_dict() for key, site in found.items()}
        return Measurement(drift_metrics(tuple(found.values())), sites=sites)


def drift_metrics(sites: Sequence[Drift]) -> dict[str, float]:
    """Means over sites; the tail ratio is that of the worst site, an angle the mean of medians."""
    if not sites:
        return {}
    return {
        "subspace_overlap": fmean(0.5 * (s.overlap_left + s.overlap_right) for s in sites),
        "tail_ratio": max(s.tail_ratio for s in sites),
        "weight_norm_ratio": fmean(s.norm_ratio for s in sites),
        "overlap_left": fmean(s.overlap_left for s in sites),
        "overlap_right": fmean(s.overlap_right for s in sites),
        "angle_left": fmean(s.angles_left[2] for s in sites),
        "angle_right": fmean(s.angles_right[2] for s in sites),
        "update_norm": fmean(s.update_ratio for s in sites),
        "update_uk_vk": fmean(s.blocks.uk_vk for s in sites),
        "update_uk_rest": fmean(s.blocks.uk_rest for s in sites),
        "update_rest_vk": fmean(s.blocks.rest_vk for s in sites),
        "update_rest_rest": fmean(s.blocks.rest_rest for s in sites),
        "update_stable_rank": fmean(s.stable_rank for s in sites),
        "update_entropy": fmean(s.entropy for s in sites),
    }
