"""Spectral drift of the edited weights, from the ledger alone."""

from typing import ClassVar, final

import torch

from revive.linalg.basis import SpectralBasis
from revive.models.ledger import Ledger
from revive.models.precision import products
from revive.probes.base import Measurement, Probe, ProbeContext


@final
class SpectrumProbe(Probe):
    """Overlap of the top singular subspaces with W0's, tail over s_k, and norm growth.

    REVIVE does not publish the definition of its similarity curves (arXiv 2601.11042, figure on
    drift); here it is the projector overlap ||U_k(W)^T U_k(W0)||_F^2 / k, mean of left and right.
    """

    name: ClassVar[str] = "spectrum"
    summary: ClassVar[str] = "subspace overlap with W0, tail over s_k, weight norm"

    def __init__(self, energy: float = 0.1) -> None:
        """Set the share of summed singular values that defines the dominant subspace."""
        self.energy = energy
        self._bases: dict[str, SpectralBasis] = {}
        self._of: Ledger | None = None

    @products("strict")
    def measure(self, context: ProbeContext) -> Measurement:
        """Means over sites (the tail ratio: the worst site)."""
        ledger = context.ledger
        if self._of is not ledger:
            self._of = ledger
            self._bases = {
                key: SpectralBasis.fit(ledger.original(key), energy=self.energy)
                for key in ledger.sites
            }
        overlap: list[float] = []
        tail: list[float] = []
        growth: list[float] = []
        for key, basis in self._bases.items():
            weight = ledger.weight(key)
            now = SpectralBasis.fit(weight, rank=basis.rank)
            shared = basis.overlap(now)
            overlap.append(0.5 * (shared.left + shared.right))
            tail.append(basis.tail_ratio(weight))
            norm = torch.linalg.matrix_norm(weight)
            growth.append(float(norm / torch.linalg.matrix_norm(ledger.original(key))))
        return Measurement(
            {
                "subspace_overlap": sum(overlap) / len(overlap),
                "tail_ratio": max(tail),
                "weight_norm_ratio": sum(growth) / len(growth),
            }
        )
