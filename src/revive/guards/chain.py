"""Several guards in a row: `guard: [revive, norm-cap]`.

Each filters what the one before let through, so the last one's promise holds for what is written;
an earlier one's holds as far as the later ones keep it (a norm cap keeps any subspace's, RECT's
mask keeps none).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, final

from torch import Tensor

from revive.errors import SpecError
from revive.guards.base import Guard, GuardResult, Mode, Protector, SiteStatistics
from revive.linalg.basis import SpectralBasis
from revive.linalg.blocks import Blocks
from revive.linalg.cache import BasisCache
from revive.linalg.least_squares.output_metric import OutputMetric
from revive.linalg.lowrank import LowRank


@final
class ChainProtector(Protector):
    """The parts' protectors, in order."""

    def __init__(self, parts: Sequence[Protector], solving: int | None = None) -> None:
        """Take the parts.

        Args:
            parts: At least one.
            solving: Index of the part that editors solve under, if there is one.
        """
        self.parts = tuple(parts)
        self._solving = solving

    @property
    def basis(self) -> SpectralBasis | None:
        """Of the part that editors solve under; without one, of the first that has directions."""
        if self._solving is not None:
            return self.parts[self._solving].basis
        return next((p.basis for p in self.parts if p.basis is not None), None)

    def filter(self, update: LowRank) -> GuardResult:
        """One after the other; shares are of the energy that was asked at first."""
        asked = update.fro() ** 2
        removed, rank, columns = Blocks.none(), 0, True
        for part in self.parts:
            before = update.fro() ** 2
            result = part.filter(update)
            removed = removed.plus(result.removed.scaled(before / asked if asked > 0 else 0.0))
            rank, columns = max(rank, result.rank), columns and result.columns
            update = result.update
        return GuardResult(update, removed, rank, columns)

    def filter_dense(self, update: Tensor) -> Tensor:
        """One after the other."""
        for part in self.parts:
            update = part.filter_dense(update)
        return update


@final
@dataclass(frozen=True, kw_only=True)
class Chain(Guard):
    """Guards that filter one after the other.

    Attributes:
        guards: At least one. At most one may have editors solve under it, and all share `when`.
    """

    name: ClassVar[str] = "chain"
    paper: ClassVar[str] = ""
    summary: ClassVar[str] = "several guards, one after the other"

    guards: tuple[Guard, ...] = ()

    def __post_init__(self) -> None:
        """Refuse parts that contradict each other."""
        super().__post_init__()
        if not self.guards:
            raise SpecError("guard: the list is empty; name a guard, or 'none'.")
        if len({g.when for g in self.guards}) > 1:
            raise SpecError("guard: guards in one list need the same `when`.")
        if sum(g.mode != "posthoc" for g in self.guards) > 1:
            raise SpecError("guard: only one guard of a list can have editors solve under it.")
        object.__setattr__(self, "when", self.guards[0].when)

    @property
    def mode(self) -> Mode:
        """Of the part that has editors solve under it."""
        return "posthoc" if self._solving is None else self.guards[self._solving].mode

    @property
    def follows(self) -> bool:
        """Whether any part does."""
        return any(g.follows for g in self.guards)

    @property
    def needs_gradients(self) -> bool:
        """Whether any part does."""
        return any(g.needs_gradients for g in self.guards)

    def protector(
        self, weight: Tensor, key: str, *, cache: BasisCache | None = None
    ) -> ChainProtector:
        """Fit every part to one weight `[d_out, d_in]`."""
        parts = [g.protector(weight, key, cache=cache) for g in self.guards]
        return ChainProtector(parts, self._solving)

    def refitted(self, protector: Protector, weight: Tensor, key: str) -> ChainProtector:
        """Fit those parts anew that follow the weight."""
        assert isinstance(protector, ChainProtector), "made by this guard"
        pairs = zip(self.guards, protector.parts, strict=True)
        parts = [g.refitted(p, weight, key) if g.follows else p for g, p in pairs]
        if all(new is old for new, old in zip(parts, protector.parts, strict=True)):
            return protector
        return ChainProtector(parts, self._solving)

    @property
    def _solving(self) -> int | None:
        return next((i for i, g in enumerate(self.guards) if g.mode != "posthoc"), None)

    def metric(self, weight: Tensor, key: str, statistics: SiteStatistics) -> OutputMetric | None:
        """Of the part that weighs."""
        found = (g.metric(weight, key, statistics) for g in self.guards)
        return next((m for m in found if m is not None), None)
