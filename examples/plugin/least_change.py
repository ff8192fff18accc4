"""An editor of your own: the smallest update of one layer that writes a batch.

    dW = R (K^T K + damping I)^{-1} K^T

It is MEMIT's least squares without a second moment: nothing else is kept, so it shows what the
second moment is for. Targets, keys, the guard, the ledger and the run are REVIVE's.
"""

from collections.abc import Sequence
from typing import ClassVar

import torch
from pydantic import Field

from revive import Edit, LowRank
from revive.editors.base import BatchOutcome, EditContext, EditMethod, Updates, WeightUpdate
from revive.editors.key_sweep import KeySweep
from revive.editors.target_editor import encode_batch, target_settings
from revive.editors.target_solver.targets import solve_targets
from revive.options.editors import TargetOptions


class LeastChangeOptions(TargetOptions):
    """What every editor with targets can be told, and one thing more."""

    damping: float = Field(default=0.1, gt=0)


class LeastChange(EditMethod[LeastChangeOptions]):
    """Yields one update; receives what was written of it."""

    name: ClassVar[str] = "least-change"
    paper: ClassVar[str] = "none, an example"
    summary: ClassVar[str] = "the smallest update of one layer that writes the batch"
    options_model: ClassVar[type[TargetOptions]] = LeastChangeOptions

    def prepare(self, context: EditContext) -> None:
        """Nothing is constant over the run."""

    def edit(self, batch: Sequence[Edit], context: EditContext) -> Updates:
        """Solve the targets, read the keys, solve for the update."""
        rows, failed = encode_batch(batch, context)
        edits, site = list(rows.values()), context.sites[-1]
        solved = solve_targets(context.runner, edits, target_settings(self.options, site.layer))
        sweep = KeySweep(context.runner, edits, site.layer)
        keys = sweep.keys(site)  # [d_in, n]
        residual = solved.z.T - sweep.outputs(site.layer)  # [d_out, n]
        gram = keys.T @ keys + self.options.damping * torch.eye(keys.shape[1], device=keys.device)
        factors = LowRank(residual, torch.linalg.solve(gram, keys.T))
        yield WeightUpdate(site, factors, owners=tuple(rows))
        return BatchOutcome(failed=failed)
