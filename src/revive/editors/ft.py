"""Fine-tuning of the edited projections, the oldest baseline.

Papers: Zhu et al., Modifying Memories in Transformer Models, arXiv 2012.00363 (FT-L's box), as used
by ROME; Wang et al., EasyEdit, arXiv 2308.07269 (FT-M, the target teacher-forced):
    min over W of the mean NLL of the targets,  |W - W_start|_inf <= eps,  by Adam.

Defaults: 25 steps of 5e-4 on one block, no box, EasyEdit's for GPT-J and Llama-3-8B (their
presets); elsewhere the step size is calibrated like lambda.

Differs from the paper:
- The default objective is FT-M's. FT-L's, which reads every target token from the prompt's last
  position and so cannot write a target of several tokens, is `objective: last-token`.
- Published code tunes the edits of a batch one after another; here a batch is one objective, or
  with `minibatch` as many as it takes steps. LocFT-BF (Yang et al., arXiv 2509.22072) is that with
  all edits in one batch, `end_token`, and one late MLP projection; which edits make a step is drawn
  once here, there every epoch.
- The authors' parameter templates catch the bias too where there is one; here weights alone.
- Experts of a mixture are tuned together; the router stays, and experts that no token of the batch
  is sent to are left alone.
- The update is dense: it is stored as large as the weight, and no single edit can be taken out.
"""

from collections.abc import Mapping, Sequence
from time import perf_counter
from typing import ClassVar, final

import torch
from torch import Tensor

from revive.data.edits import Edit
from revive.editors.base import (
    NOT_FINITE,
    BatchOutcome,
    EditContext,
    EditMethod,
    Updates,
    WeightUpdate,
)
from revive.editors.finetune_loop import finetune
from revive.editors.target_editor import encode_batch, known
from revive.editors.target_solver.tokenized_edit import TokenizedPrompt
from revive.errors import SpecError
from revive.linalg.lowrank import LowRank
from revive.models.forward.frozen import gradients_through
from revive.models.site import Site
from revive.options.editors import FtOptions


@final
class FineTuning(EditMethod[FtOptions]):
    """Adam on the edited projections."""

    name: ClassVar[str] = "ft"
    paper: ClassVar[str] = "arXiv:2012.00363, arXiv:2308.07269"
    summary: ClassVar[str] = "gradient descent on the edited projections alone"
    options_model = FtOptions
    edits_experts: ClassVar[bool] = True

    def prepare(self, context: EditContext) -> None:
        """Nothing is constant."""

    def edit(self, batch: Sequence[Edit], context: EditContext) -> Updates:
        """Tune, then propose what has changed, site by site."""
        started = perf_counter()
        rows, failed = encode_batch(batch, context)
        kept = list(rows)
        if not kept:
            return BatchOutcome(failed=failed, seconds={"targets": perf_counter() - started})
        before = {s.key: context.weights.weight(s.key) for s in context.sites}
        with gradients_through(context.runner):
            found = finetune(
                context.runner,
                _stored(context.sites, before),
                [self._row(rows[i].rewrite[0], context) for i in kept],
                layer=min(site.layer for site in context.sites),
                objective=self.options.objective,
                steps=self.options.steps,
                lr=known(self.options.lr, "lr"),
                box=self.options.box,
                stop_loss=self.options.stop_loss,
                rows_per_step=self.options.minibatch,
                seed=context.seed,
            )
        failed = {**failed, **{kept[row]: NOT_FINITE for row in found.failed}}
        seconds = {"targets": perf_counter() - started}
        if not found.losses:
            return BatchOutcome(failed=failed, seconds=seconds)
        for site in context.sites:
            tuned = found.values[site.parameter]
            tuned = tuned if site.expert is None else tuned[site.expert]
            change = (tuned.T if site.transposed else tuned) - before[site.key]
            if site.expert is None or bool(change.any()):
                yield WeightUpdate(site, LowRank.of_dense(change))
        notes = {
            "target_first_loss": found.losses[0],
            "target_loss": found.losses[-1],
            "target_evaluations": float(len(found.losses)),
        }
        return BatchOutcome({}, failed, notes, seconds)

    def _row(self, row: TokenizedPrompt, context: EditContext) -> TokenizedPrompt:
        if not self.options.end_token:
            return row
        end = context.tokenizer.eos_token_id
        if end is None:
            raise SpecError("editor.end_token: the tokenizer has no end-of-text token.")
        return ended(row, int(end))


def ended(row: TokenizedPrompt, end: int) -> TokenizedPrompt:
    """A row whose target ends in one more token."""
    return TokenizedPrompt(
        input_ids=(*row.input_ids, row.labels[-1]),
        lookup=row.lookup,
        positions=(*row.positions, len(row.input_ids)),
        labels=(*row.labels, end),
    )


def _stored(sites: Sequence[Site], weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights `[d_out, d_in]` as the model stores them: experts in one parameter, all of them."""
    parts: dict[str, list[Tensor]] = {}
    for site in sites:
        weight = weights[site.key]
        parts.setdefault(site.parameter, []).append(
            weight.T.contiguous() if site.transposed else weight
        )
    mixed = {site.parameter for site in sites if site.expert is not None}
    return {name: torch.stack(w) if name in mixed else w[0] for name, w in parts.items()}
