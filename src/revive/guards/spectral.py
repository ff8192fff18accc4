"""What REVIVE and its controls share: an energy, a basis, and a filter by projection."""

from dataclasses import dataclass
from typing import final

from torch import Tensor

from revive.errors import SpecError
from revive.guards.base import Guard, GuardResult, Protector
from revive.linalg.basis import SpectralBasis
from revive.linalg.blocks import Sides
from revive.linalg.cache import BasisCache
from revive.linalg.lowrank import LowRank


@final
class SubspaceProtector(Protector):
    """Removes whatever touches the directions of a basis."""

    def __init__(self, basis: SpectralBasis, sides: Sides = "both") -> None:
        self._basis = basis
        self._sides: Sides = sides

    @property
    def basis(self) -> SpectralBasis:
        """The directions that nothing may touch."""
        return self._basis

    def filter(self, update: LowRank) -> GuardResult:
        """(I - U U^T) dW (I - V V^T), on factors."""
        removed = self._basis.block_shares(update).inside(self._sides)
        kept = self._basis.project_out(update, self._sides)
        return GuardResult(kept, removed, self._basis.rank)

    def filter_dense(self, update: Tensor) -> Tensor:
        """(I - U U^T) dW (I - V V^T)."""
        return self._basis.project_out(update, self._sides)


@dataclass(frozen=True, kw_only=True)
class SpectralGuard(Guard):
    """A guard whose strength is a share of the spectrum.

    Attributes:
        energy: tau, the share of the summed singular values whose directions are protected.
            Larger keeps more of the model and less of each edit; 0.1 is the paper's default
            (arXiv 2601.11042), 0.05 to 0.3 its range.
    """

    energy: float = 0.1

    def __post_init__(self) -> None:
        """Refuse an energy that is not a share."""
        super().__post_init__()
        if not 0.0 <= self.energy <= 1.0:
            raise SpecError(f"guard.energy: {self.energy} is not a share; give 0 to 1.")

    def dominant(self, weight: Tensor, cache: BasisCache | None) -> SpectralBasis:
        """The dominant directions of a weight `[d_out, d_in]` at this energy."""
        if cache is not None:
            return cache.fit(weight, energy=self.energy)
        return SpectralBasis.fit(weight, energy=self.energy)
