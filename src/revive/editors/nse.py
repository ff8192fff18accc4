"""NSE: targets of the unedited model, written to selected neurons in several rounds.

Paper: Jiang et al., Neuron-Level Sequential Editing for Large Language Models, arXiv 2410.04045:
- z is optimised on the unedited model, whatever the stream has done to it since;
- in each round, edits with alpha < ||z - z_cur|| < upper are solved for again, as in MEMIT-seq
      dW_S = R K_S^T (lambda C_SS + (K_p K_p^T)_SS + K_S K_S^T)^{-1}
  on the neurons S that hold a share of the keys' summed activation, and nowhere else.

Defaults: alpha, upper and the share are the authors' per model (their presets), 2 rounds.

Differs from the paper:
- A share of 1 selects every neuron; in the authors' code rounding may drop the last ones.
- Models without published bounds get them relative to the target's length, see `NseOptions`; alpha
  relative to what the block receives of its projection, where that is scaled or normalised.
- A key history holds every edit of a batch, taken part or not, as in the authors' code.
"""

from collections.abc import Sequence
from time import perf_counter
from typing import ClassVar, final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from revive.data.edits import Edit
from revive.editors.base import BatchOutcome, EditContext, Updates, WeightUpdate
from revive.editors.key_sweep import KeySweep
from revive.editors.least_squares import CovarianceEditor
from revive.editors.target_editor import SolvedBatch
from revive.editors.target_solver.tokenized_edit import TokenizedEdit
from revive.linalg.least_squares.normal_equations import NormalEquations
from revive.linalg.lowrank import LowRank
from revive.options.editors import NseOptions

_LEAST, _MOST = 0.2, 2.0


@final
class Nse(CovarianceEditor[NseOptions]):
    """Rounds of MEMIT-seq on selected neurons."""

    name: ClassVar[str] = "nse"
    paper: ClassVar[str] = "arXiv:2410.04045"
    summary: ClassVar[str] = (
        "targets of the unedited model, selected neurons, and rounds over what is missing"
    )
    options_model = NseOptions
    solves_under_guards: ClassVar[bool] = False
    edits_experts: ClassVar[bool] = False
    history: ClassVar[bool] = True

    def solve_batch(self, batch: Sequence[Edit], context: EditContext) -> SolvedBatch:
        """Tokenise and solve the targets on the unedited model."""
        with context.weights.pristine():
            return super().solve_batch(batch, context)

    def spread(self, solved: SolvedBatch, context: EditContext) -> Updates:
        """Propose updates, round by round, layer by layer."""
        seconds = {"targets": solved.seconds, "keys": 0.0, "solve": 0.0}
        if not solved.rows:
            return BatchOutcome(failed=solved.failed, seconds=seconds)
        last = context.sites[-1]
        length = solved.z.norm(dim=1)
        o = self.options
        upper = length * _MOST if o.upper is None else torch.full_like(length, o.upper)
        rounds = 0
        for _ in range(o.passes):
            started = perf_counter()
            sweep = self._sweep(solved.rows, context)
            missing = (solved.z - sweep.outputs(last.layer).T).norm(dim=1)
            alpha = self._least(length, sweep.received(last))
            seconds["keys"] += perf_counter() - started
            chosen = ((alpha < missing) & (missing < upper)).nonzero().flatten().tolist()
            if not chosen:
                break
            rounds += 1
            yield from self._round(solved, chosen, context, seconds)
        started = perf_counter()
        sweep = self._sweep(solved.rows, context)
        increment = {f"keys.{s.key}": sweep.keys(s) for s in context.sites} | solved.state
        seconds["keys"] += perf_counter() - started
        notes = {**solved.notes, "rounds": float(rounds)}
        return BatchOutcome(increment, solved.failed, notes, seconds, solved.unsolved)

    def _least(self, length: Tensor, received: Tensor | None) -> Tensor:
        """How much must be missing for an edit to take part, `[n]`."""
        if self.options.alpha is not None:
            return torch.full_like(length, self.options.alpha)
        # Behind a norm, a block that adds little to the stream can also change it by little only.
        reach = length if received is None else torch.minimum(length, received.norm(dim=0))
        return reach * _LEAST

    def _round(
        self,
        solved: SolvedBatch,
        chosen: Sequence[int],
        context: EditContext,
        seconds: dict[str, float],
    ) -> Updates:
        rows = [solved.rows[i] for i in chosen]
        owners = tuple(solved.indices[i] for i in chosen)
        z = solved.z[torch.tensor(chosen, device=solved.z.device)]
        sweep = self._sweep(rows, context)
        for index, site in enumerate(context.sites):
            started = perf_counter()
            keys = sweep.keys(site)
            missing = z.T - sweep.outputs(context.sites[-1].layer)
            share = sweep.pulled_back(site, missing / (len(context.sites) - index))
            solving = perf_counter()
            seconds["keys"] += solving - started
            neurons = select_neurons(keys, self.options.neuron_threshold)
            update = update_of_neurons(self._equations[site.key], keys, share, neurons)
            seconds["solve"] += perf_counter() - solving
            yield WeightUpdate(site, update, owners)
        return BatchOutcome()

    def _sweep(self, rows: Sequence[TokenizedEdit], context: EditContext) -> KeySweep:
        first = context.sites[0].layer
        return KeySweep(context.runner, rows, first, average_contexts=self.options.key_average)


def select_neurons(keys: Float[Tensor, "d n"], threshold: float) -> Int[Tensor, " s"]:
    """Indices of the most active neurons that together hold at most a share of all activation.

    Args:
        keys: K; a neuron's activation is sum_j |K_ij|.
        threshold: The share; at 1 all neurons, and at least one always.
    """
    activation = keys.abs().double().sum(dim=1)
    order = activation.argsort(descending=True, stable=True)
    if threshold >= 1.0:
        return order.sort().values
    held = activation[order].cumsum(0) <= threshold * activation.sum()
    return order[: max(1, int(held.sum()))].sort().values


def update_of_neurons(
    equations: NormalEquations,
    keys: Float[Tensor, "d n"],
    residual: Float[Tensor, "out n"],
    neurons: Int[Tensor, " s"],
) -> LowRank:
    """The least squares of some neurons alone, zero at all others, `[out, d]`."""
    if len(neurons) == keys.shape[0]:
        return equations.solve_update(keys, residual)
    inside = equations.restricted(neurons).solve_update(keys[neurons], residual)
    right = inside.right.new_zeros(inside.rank, keys.shape[0])
    right[:, neurons] = inside.right
    return LowRank(inside.left, right)
