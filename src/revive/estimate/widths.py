"""How many projections a run edits, and how wide they are inside. No torch."""

from collections.abc import Sequence
from dataclasses import dataclass

from revive.presets.facts import ModelFacts


@dataclass(frozen=True, slots=True)
class Widths:
    """So many projections of one width inside."""

    count: int
    inner: int

    @property
    def inputs(self) -> int:
        """Summed widths."""
        return self.count * self.inner

    @property
    def squares(self) -> int:
        """Entries of their second moments."""
        return self.count * self.inner**2


def edited_widths(facts: ModelFacts, layers: Sequence[int]) -> tuple[Widths, Widths]:
    """The ordinary projections of some blocks, and those of their experts."""
    mixed = len(facts.sparse.intersection(layers))
    return (
        Widths(len(layers) - mixed, facts.inner),
        Widths(mixed * facts.experts, facts.expert_inner),
    )
