"""RECT: MEMIT, with only the relatively largest entries of every update written.

Paper: Gu et al., Model Editing Harms General Abilities of Large Language Models: Regularization to
the Rescue, arXiv 2401.04700:
    keep dW_ij where |dW_ij / (W_ij + 1e-8)| is among the largest 40 %, W the weight as it stands.
See `linalg/relative_mask.py`.

Defaults: keep 0.4, the paper's for every model; the rest is MEMIT's.

Differs from the paper:
- Later layers are planned on what is really written, so that they make up for what was masked. The
  authors' order, planning on dense updates and masking at the end, is `plan: dense`.
- A masked update has no low rank: it is written, and stored, as large as the weight, and no single
  edit can be taken out of it later.
"""

from collections.abc import Mapping
from typing import ClassVar, final

import torch
from torch import Tensor

from revive.editors.base import EditContext, Updates, WeightUpdate, WrittenUpdate
from revive.editors.intercept_updates import intercept_updates
from revive.editors.least_squares import CovarianceEditor
from revive.editors.target_editor import SolvedBatch
from revive.linalg.lowrank import LowRank
from revive.linalg.relative_mask import relative_mask
from revive.models.site import Site
from revive.options.editors import RectOptions


@final
class Rect(CovarianceEditor[RectOptions]):
    """MEMIT under RECT's mask."""

    name: ClassVar[str] = "rect"
    paper: ClassVar[str] = "arXiv:2401.04700"
    summary: ClassVar[str] = "MEMIT that writes only the entries that change most, relatively"
    options_model = RectOptions

    def shape(self, site: Site, update: LowRank, context: EditContext) -> LowRank:
        """The masked update; with `plan: dense` the whole one, which is masked later."""
        if self.options.plan == "dense":
            return update
        dense = update.dense()
        mask = relative_mask(dense, context.weights.weight(site.key), self.options.keep)
        return LowRank.of_dense(dense * mask)

    def spread(self, solved: SolvedBatch, context: EditContext) -> Updates:
        """Propose one update per layer; with `plan: dense`, then take out what is masked."""
        if self.options.plan == "written":
            return (yield from super().spread(solved, context))
        before = {s.key: context.weights.weight(s.key) for s in context.sites}
        masked: list[WeightUpdate] = []

        def see(proposed: WeightUpdate, answer: WrittenUpdate) -> None:
            del answer
            masked.append(WeightUpdate(proposed.site, self._masked(proposed, before)))

        outcome = yield from intercept_updates(super().spread(solved, context), see)
        for update in masked:  # noqa: UP028 (a list takes no answers)
            yield update
        return outcome

    def _masked(self, proposed: WeightUpdate, before: Mapping[str, Tensor]) -> LowRank:
        """Minus what the mask drops."""
        dense = proposed.factors.dense()
        mask = relative_mask(dense, before[proposed.site.key], self.options.keep)
        return LowRank.of_dense(torch.where(mask, torch.zeros_like(dense), -dense))
