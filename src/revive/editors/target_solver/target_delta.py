"""What a solved shift does: to what a site puts out, and to what its block puts out."""

from dataclasses import dataclass

import torch
from torch import Tensor

from revive.models.residual_write import ResidualWrite


@dataclass(frozen=True)
class TargetDelta:
    """Deltas of n edits, on their way into the residual stream; see `targets`.

    Attributes:
        entry: How the block receives what its site puts out; None where it adds it.
        unit: `[n, 1]`, length at the site of one unit of delta.
    """

    entry: ResidualWrite | None
    unit: Tensor

    @classmethod
    def of(cls, entry: ResidualWrite | None, y0: Tensor) -> "TargetDelta":
        """For sites that put out y0, `[n, d]`, on the plain prompts."""
        one = y0.new_ones(len(y0), 1)
        if entry is None:
            return cls(None, one)
        with torch.no_grad():
            written = entry.written(y0).norm(dim=1, keepdim=True)
        return cls(entry, torch.where(written > 0, y0.norm(dim=1, keepdim=True) / written, one))

    def at_site(self, delta: Tensor, edits: Tensor) -> Tensor:
        """What the sites of some edits put out more, `[a, d]`."""
        return delta * self.unit[edits]

    def at_block(self, y: Tensor | None, shift: Tensor) -> Tensor:
        """What blocks put out more, `[rows, d]`, where sites that put out y put out shift more."""
        if self.entry is None or y is None:
            return shift
        y = y.to(shift.dtype)
        return self.entry.written(y + shift) - self.entry.written(y)
