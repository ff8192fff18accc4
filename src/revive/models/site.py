"""A site: one projection whose weight an editor may change."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby


@dataclass(frozen=True, slots=True)
class Site:
    """One editable projection `y = W x`, declared by a model family.

    Attributes:
        layer: Block index, 0-based.
        role: What the projection does; `mlp_out` is the second MLP projection.
        module: Qualified module name, e.g. `model.layers.3.mlp.down_proj`.
        parameter: Qualified parameter name.
        transposed: Whether the parameter is stored `[in, out]` (GPT-2's Conv1D).
        shape: Canonical `(d_out, d_in)`, whatever the storage.
        expert: Which matrix of a parameter `[experts, d_out, d_in]` it is, in a mixture of
            experts; None where the parameter is the matrix.
    """

    layer: int
    role: str
    module: str
    parameter: str
    transposed: bool
    shape: tuple[int, int]
    expert: int | None = None

    @property
    def key(self) -> str:
        """Its name everywhere: the parameter's, and the expert in brackets where it has one."""
        return self.parameter if self.expert is None else f"{self.parameter}[{self.expert}]"


def by_layer(sites: Iterable[Site]) -> list[tuple[Site, ...]]:
    """Sites in order of depth, those of one block together: one, or a mixture's experts."""
    ordered = sorted(sites, key=lambda s: s.layer)
    return [tuple(group) for _, group in groupby(ordered, key=lambda s: s.layer)]
