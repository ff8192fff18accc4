"""UltraEdit: one gradient per batch, normalised over the stream, and one ridge regression.

Paper: Gu et al., UltraEdit: Training-, Subject-, and Memory-Free Lifelong Editing in Large Language
Models, arXiv 2505.14679. At every position t where a target token is predicted, a projection
receives k_t and the loss has the gradient g_t at its output. Both are normalised, entry by entry,
by mean and variance over all of the stream so far, this batch included. With hats for normalised:
    v_t = -lr ||k^_t||^2 g^_t,    dW = V^T K (K^T K + I)^{-1}
K and V have a row per token. With the push-through identity this is V^T (K K^T + I)^{-1} K: a
system of the size of the batch's tokens, and an update of that rank.

Defaults: lr is 1e-6 in the authors' settings for 7B models; elsewhere it is calibrated on one fresh
batch, as lambda is.

Differs from the paper:
- The authors edit up to 18 gate and up projections; here the edited projections are those of all
  editors (`layers`, the MLP's output).
- Statistics are kept per projection, in the authors' code per shape.
- An edit's loss is the mean over its tokens, summed over the batch; the authors take the mean over
  all tokens of 10 edits. Normalising takes most of such a factor out again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import ClassVar, final

import torch
from jaxtyping import Float
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
from revive.editors.target_editor import encode_batch, known
from revive.editors.token_gradients import TokenGradients, token_gradients
from revive.linalg.lowrank import LowRank
from revive.models.forward.frozen import gradients_through
from revive.options.editors import UltraEditOptions

_VARIANCE_FLOOR = 1e-8


@dataclass(frozen=True)
class Running:
    """Mean and variance of a stream of vectors, fp64.

    Attributes:
        count: Vectors so far.
        mean: `[d]`.
        scatter: Sum of squared deviations from the mean, `[d]`.
    """

    count: int
    mean: Float[Tensor, " d"]
    scatter: Float[Tensor, " d"]

    def plus(self, x: Float[Tensor, "n d"]) -> "Running":
        """With more vectors (Chan's update)."""
        wide = x.double()
        mean, count = wide.mean(dim=0), len(wide)
        total = self.count + count
        shift = mean - self.mean
        scatter = (wide - mean).square().sum(dim=0)
        scatter = self.scatter + scatter + shift.square() * (self.count * count / total)
        return Running(total, self.mean + shift * (count / total), scatter)

    def normalised(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """(x - mean) / std, entry by entry."""
        variance = self.scatter / self.count
        return (x.double() - self.mean) / (variance + _VARIANCE_FLOOR).sqrt()


@final
class UltraEdit(EditMethod[UltraEditOptions]):
    """The speed reference: no subject, no target to solve for."""

    name: ClassVar[str] = "ultraedit"
    paper: ClassVar[str] = "arXiv:2505.14679"
    summary: ClassVar[str] = (
        "one gradient per batch, normalised over the stream, and one ridge regression"
    )
    options_model = UltraEditOptions

    def __init__(self, options: UltraEditOptions) -> None:
        super().__init__(options)
        self._running: dict[str, Running] = {}

    def prepare(self, context: EditContext) -> None:
        """Begin the statistics: keys and gradients of a site side by side."""
        self._running = {}
        for site in context.sites:
            device = context.weights.delta(site.key).device
            zero = torch.zeros(sum(site.shape), dtype=torch.float64, device=device)
            self._running[site.key] = Running(0, zero, zero)

    def edit(self, batch: Sequence[Edit], context: EditContext) -> Updates:
        """Propose one update per site, all from the model as it stands."""
        started = perf_counter()
        rows, failed = encode_batch(batch, context)
        kept = list(rows)
        if not kept:
            return BatchOutcome(failed=failed, seconds={"targets": perf_counter() - started})
        with gradients_through(context.runner):
            texts = [rows[i].rewrite[0] for i in kept]
            seen = token_gradients(context.runner, context.sites, texts)
        failed = {
            **failed,
            **{kept[i]: NOT_FINITE for i in (~seen.losses.isfinite()).nonzero().flatten().tolist()},
        }
        tokens = [t for t, row in enumerate(seen.owner) if kept[row] not in failed]
        seconds = {"targets": perf_counter() - started}
        if not tokens:
            return BatchOutcome(failed=failed, seconds=seconds)
        owners = tuple(kept[seen.owner[t]] for t in tokens)
        solving, increment = perf_counter(), dict[str, Tensor]()
        updates: list[WeightUpdate] = []
        for site in context.sites:
            update, running = self._solve(site.key, seen, tokens)
            updates.append(WeightUpdate(site, update, owners))
            increment[f"count.{site.key}"] = torch.tensor(running.count)
            increment[f"mean.{site.key}"] = running.mean
            increment[f"scatter.{site.key}"] = running.scatter
        seconds["solve"] = perf_counter() - solving
        for update in updates:
            yield update
        losses = seen.losses[seen.losses.isfinite()]
        return BatchOutcome(increment, failed, {"target_first_loss": float(losses.mean())}, seconds)

    def advance(self, increment: Mapping[str, Tensor]) -> None:
        """Take over a committed batch's statistics."""
        for name, count in increment.items():
            kind, _, key = name.partition(".")
            if kind == "count":
                mean, scatter = (increment[f"{k}.{key}"] for k in ("mean", "scatter"))
                device = self._running[key].mean.device
                self._running[key] = Running(int(count), mean.to(device), scatter.to(device))

    def _solve(
        self, key: str, seen: TokenGradients, tokens: Sequence[int]
    ) -> tuple[LowRank, Running]:
        keys, gradients = seen.keys[key][tokens], seen.gradients[key][tokens]
        both = torch.cat([keys, gradients], dim=1)
        running = self._running[key].plus(both)
        near, slope = running.normalised(both).split([keys.shape[1], gradients.shape[1]], dim=1)
        values = -known(self.options.lr, "lr") * near.square().sum(dim=1, keepdim=True) * slope
        wide = keys.double()
        gram = wide @ wide.T
        gram.diagonal().add_(1.0)
        right = torch.linalg.solve(gram, wide)
        return LowRank(values.T.to(keys.dtype), right.to(keys.dtype)), running
