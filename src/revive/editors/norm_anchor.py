"""Norm-anchor scaling: what a projection is to put out keeps the length of the unedited model's.

Paper: Liu et al., Norm Anchors Make Model Edits Last, arXiv 2602.02543 (NAS). A solved target is
z = z0 + delta, of which the edited projection adds v = v0 + delta. On an edited model v0 is longer,
clamp and step are relative to it, and so the next v is longer again. NAS writes
    z = (z0 - v0) + v * (a / ||v||),    a = mean ||v|| on the unedited model,
and leaves an edit unmade whose ||v|| is above 2 a.

Differs from the paper: the authors solve a separate sample for a; here it is the mean of the run's
first batch, which is solved on the unedited model too. An edit that is left unmade is told as
failed and has no part in the history; theirs keeps its key there.
"""

import torch
from torch import Tensor

from revive.editors.target_editor import Adjusted
from revive.editors.target_solver.target_settings import Targets
from revive.errors import SpecError

ANCHOR = "anchor.norm"
"""Its name in an editor's state: `[1]`, fp64."""

_LONGEST = 2.0


def norm_anchored(targets: Targets, anchor: Tensor | None) -> Adjusted:
    """Scale the targets of a batch.

    Args:
        targets: As solved.
        anchor: `[1]`, a; None before the first batch, whose mean it becomes.

    Raises:
        SpecError: The block is a mixture of experts, which has no one projection.
    """
    good = ~targets.failed
    if bool(targets.v0[good].isnan().any()):
        raise SpecError(
            "editor.norm_anchor: a mixture of experts has no one projection whose output could "
            "keep its length; leave it out for this model."
        )
    value = (targets.v0 + targets.z - targets.z0).double()
    length = value.norm(dim=1)
    if anchor is None:
        if not bool(good.any()):
            return Adjusted(targets.z)
        anchor = length[good].mean()[None].cpu()
    at = anchor.to(length)
    scaled = targets.z0 - targets.v0 + (value * (at / length)[:, None]).to(targets.z)
    long = (good & (length > _LONGEST * at)).nonzero().flatten().tolist()
    dropped = {
        row: f"its target is {float(length[row] / at):.1f} times as long as the norm anchor; "
        f"norm-anchor scaling makes none above {_LONGEST:g}"
        for row in long
    }
    z = torch.where(good[:, None], scaled, targets.z)
    return Adjusted(z, dropped, {ANCHOR: anchor})
