"""What saving in fewer bits costs the edited weights."""

from collections.abc import Mapping

import torch
from torch import Tensor

from revive.export.card import Rounding
from revive.models.stored_dtype import dtype_name


def rounding(
    changed: Mapping[str, Tensor], edits: Mapping[str, Tensor], dtype: torch.dtype
) -> Rounding:
    """What saving in a dtype does to edited weights.

    Args:
        changed: They, by name, as edited.
        edits: What was added to them, by name, `[d_out, d_in]` or transposed.
        dtype: Of the saved weights.
    """
    lost = sum(
        float((w - w.to(dtype).to(w.dtype)).double().square().sum()) for w in changed.values()
    )
    size = sum(float(e.double().square().sum()) for e in edits.values())
    held = next((w.dtype for w in changed.values()), dtype)
    return Rounding(dtype_name(dtype), dtype_name(held), (lost / size) ** 0.5 if size else 0.0)
