"""What the MEMIT family shares: one regularised least squares per layer, from the lowest up.

With keys K of a batch and what is still missing at the last edited layer, R = (Z - Z_cur) / (L - i)
at layer i of L (MEMIT, arXiv 2210.07229, section 4 and its code), or R = Z_i - Z_cur,i with the
targets that follow from the first edited layer's (`spread: forward`; FE, arXiv 2605.00358):
    dW = argmin ||dW K - R||^2 + tr(dW A dW^T) = R K^T (A + K K^T)^{-1}
R is a change of what the block puts out. Where the model scales or normalises what the site puts
out, R is pulled back to the site first (`models/residual_write.py`; ours).
Members differ in A, in what becomes of dW, and in whether A grows by K K^T after a batch.

Where a layer is a mixture of experts, its weights are one wide matrix [W_1 ... W_E] with a
block-sparse key, and the layer is solved for all experts that the batch is sent to at once
(`models/experts.py`, `linalg/least_squares/joint.py`). This is ours; no paper edits mixtures this
way. Cross terms between experts are left out of A: C_ef = E[k_e k_f^T], and those of the history.
Only what the batch meets is factorised, so that a hundred experts do not cost a hundred
factorisations.

A guard may ask for the least squares to be solved under its constraint, or with its weights on
output directions; both are ours, see `linalg/least_squares/normal_equations.py`.
"""

import time
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar, TypeVar

from torch import Tensor

from revive.editors.base import BatchOutcome, EditContext, Updates, WeightUpdate
from revive.editors.key_sweep import KeySweep
from revive.editors.norm_anchor import ANCHOR, norm_anchored
from revive.editors.target_editor import Adjusted, SolvedBatch, TargetEditor, known
from revive.editors.target_solver.target_settings import Targets
from revive.linalg.least_squares.joint import joint_update
from revive.linalg.least_squares.normal_equations import NormalEquations
from revive.linalg.lowrank import LowRank
from revive.models.site import Site, by_layer
from revive.options.editors import LeastSquaresOptions, MemitOptions

LeastSquaresOptionsT = TypeVar("LeastSquaresOptionsT", bound=LeastSquaresOptions)
MemitOptionsT = TypeVar("MemitOptionsT", bound=MemitOptions)


class LeastSquaresEditor(TargetEditor[LeastSquaresOptionsT]):
    """Targets, keys, and one regularised least-squares solve per layer."""

    solves_under_guards: ClassVar[bool] = True
    edits_experts: ClassVar[bool] = True
    history: ClassVar[bool] = False
    """Whether the keys of committed batches stay in A."""

    def __init__(self, options: LeastSquaresOptionsT) -> None:
        super().__init__(options)
        self._equations: dict[str, NormalEquations] = {}
        self._context: EditContext | None = None
        self._anchor: Tensor | None = None

    @abstractmethod
    def equations(self, site: Site, context: EditContext) -> NormalEquations:
        """A at one site, before the first batch."""

    def shape(self, site: Site, update: LowRank, context: EditContext) -> LowRank:
        """What is proposed of a solved update; all of it unless a method says otherwise."""
        del site, context
        return update

    def prepare(self, context: EditContext) -> None:
        """Factorise A once per site; of experts, those that are met, when they are."""
        self._context = context
        self._equations = {
            s.key: self.equations(s, context) for s in context.sites if s.expert is None
        }

    def spread(self, solved: SolvedBatch, context: EditContext) -> Updates:
        """Propose one update per layer, from the lowest up."""
        seconds = {"targets": solved.seconds, "keys": 0.0, "solve": 0.0}
        if not solved.rows:
            return BatchOutcome(failed=solved.failed, seconds=seconds)
        sweep = KeySweep(
            context.runner,
            solved.rows,
            context.sites[0].layer,
            average_contexts=self.options.key_average,
        )
        increment: dict[str, Tensor] = {}
        layers = by_layer(context.sites)
        wanted = self._wanted(solved, sweep, [sites[0].layer for sites in layers])
        for index, sites in enumerate(layers):
            started = time.perf_counter()
            keys = sweep.keys_of(sites)
            missing = self._missing(wanted, sweep, index)
            share = sweep.pulled_back(sites[0], missing)
            solving = time.perf_counter()
            seconds["keys"] += solving - started
            updates = self._solved(sites, keys, share, context)
            shaped = [(s, u, self.shape(s, u, context)) for s, u in updates]
            seconds["solve"] += time.perf_counter() - solving
            for site, update, proposed in shaped:
                whole = proposed is update
                yield WeightUpdate(site, proposed, solved.indices if whole else None)
                if self.history:
                    increment[f"keys.{site.key}"] = _met(keys[site.key], site)
        increment |= solved.state
        return BatchOutcome(increment, solved.failed, solved.notes, seconds, solved.unsolved)

    def advance(self, increment: Mapping[str, Tensor]) -> None:
        """Add a committed batch's keys to the history; its norm anchor is that of the run."""
        self.take_anchor(increment)
        for name, keys in increment.items():
            if name == ANCHOR:
                continue
            key = name.removeprefix("keys.")
            self._equations[key] = self._equations_at(key).with_history(keys)

    def take_anchor(self, increment: Mapping[str, Tensor]) -> None:
        """Remember the norm anchor of a committed batch, for those that are still to come."""
        self._anchor = increment.get(ANCHOR, self._anchor)

    def anchor_site(self, context: EditContext) -> Site:
        """The last edited block's, or the first's where targets spread forward."""
        return context.sites[0 if self.options.spread == "forward" else -1]

    def adjusted(self, targets: Targets) -> Adjusted:
        """Targets of the anchor's length, where that is asked for."""
        if not self.options.norm_anchor:
            return super().adjusted(targets)
        return norm_anchored(targets, self._anchor)

    def _wanted(
        self, solved: SolvedBatch, sweep: KeySweep, layers: Sequence[int]
    ) -> list[tuple[int, Tensor]]:
        """For every edited block the one that its update aims at, and what that is to put out."""
        if self.options.spread == "forward":
            return list(sweep.replayed(solved.z, layers).items())
        return [(layers[-1], solved.z.T)] * len(layers)

    @staticmethod
    def _missing(wanted: Sequence[tuple[int, Tensor]], sweep: KeySweep, index: int) -> Tensor:
        """What one block is to add, `[d, n]`: shared with the later ones that have the same aim."""
        layer, z = wanted[index]
        left = sum(other == layer for other, _ in wanted[index:])
        return (z - sweep.outputs(layer)) / left

    def _solved(
        self,
        sites: Sequence[Site],
        keys: Mapping[str, Tensor],
        residual: Tensor,
        context: EditContext,
    ) -> list[tuple[Site, LowRank]]:
        """The updates of one layer: of its projection, or of all its experts that are met."""
        if sites[0].expert is None:
            site = sites[0]
            equations, found = self._equations[site.key], keys[site.key]
            return [(site, solve_update(equations, found, residual, site, context))]
        met = {key: self._equations_at(key) for key in keys}
        found = joint_update(met, keys, residual)
        return [(site, found[site.key]) for site in sites if site.key in found]

    def _equations_at(self, key: str) -> NormalEquations:
        """A at one site, history included; factorised here if nothing has met the expert yet."""
        if key not in self._equations:
            assert self._context is not None, "prepared"
            site = next(s for s in self._context.sites if s.key == key)
            self._equations[key] = self.equations(site, self._context)
        return self._equations[key]


class CovarianceEditor(LeastSquaresEditor[MemitOptionsT]):
    """The members whose A begins as lambda C."""

    def equations(self, site: Site, context: EditContext) -> NormalEquations:
        """Lambda C."""
        return NormalEquations(moment_at(site, context), known(self.options.ridge, "ridge"))


def moment_at(site: Site, context: EditContext) -> Tensor:
    """C at one site, `[d_in, d_in]`.

    Text may send few tokens to an expert, or none, and what its C then says of most directions is
    that they are free. An expert's directions therefore count as met once each, by a key of the
    layer's mean length, beside what the text shows: with more text that comes to nothing. (Ours.)
    """
    moment = context.moments[site.key]
    value = moment.value()
    if site.expert is not None:
        layer = [s.key for s in context.sites if s.layer == site.layer]
        mean = sum(context.moments[key].trace for key in layer) / len(layer)
        value.diagonal().add_(mean / moment.count)
    return value


def _met(keys: Tensor, site: Site) -> Tensor:
    """Keys without those of edits that an expert does not get."""
    return keys if site.expert is None else keys[:, keys.any(dim=0)]


def solve_update(
    equations: NormalEquations, keys: Tensor, residual: Tensor, site: Site, context: EditContext
) -> LowRank:
    """The update of one site, in the form that the guard asks for.

    Args:
        equations: A.
        keys: K, `[d_in, n]`.
        residual: R, `[d_out, n]`.
        site: The site.
        context: Holds the guard's constraint or weights, if it has any.
    """
    metric = context.metrics.get(site.key)
    if metric is not None:
        return equations.weighted_update(keys, residual, metric)
    basis = context.bases.get(site.key)
    if basis is not None:
        return equations.constrained_update(keys, residual, basis)
    return equations.solve_update(keys, residual)
