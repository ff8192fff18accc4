"""A site: one projection whose weight an editor may change."""

from dataclasses import dataclass


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
    """

    layer: int
    role: str
    module: str
    parameter: str
    transposed: bool
    shape: tuple[int, int]
