"""What the MEMIT family shares: one regularised least squares per layer, from the lowest up.

With keys K of a batch and what is still missing at the last edited layer, R = (Z - Z_cur) / (L - i)
at layer i of L (MEMIT, arXiv 2210.07229, section 4 and its code):
    dW = argmin ||dW K - R||^2 + tr(dW A dW^T) = R K^T (A + K K^T)^{-1}
R is a change of what the block puts out. Where the model scales or normalises what the site puts
out, R is pulled back to the site first (`models/entry.py`; ours).
Members differ in A, in what becomes of dW, and in whether A grows by K K^T after a batch.

A guard may ask for the least squares to be solved under its constraint, or with its weights on
output directions; both are ours, see `linalg/solve.py`.
"""

import time
from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar, TypeVar

from torch import Tensor

from revive.editors.base import EditContext, Outcome, Updates, WeightUpdate
from revive.editors.keys import KeySweep
from revive.editors.options import MemitOptions, TargetOptions
from revive.editors.target_editor import SolvedBatch, TargetEditor, known
from revive.linalg.lowrank import LowRank
from revive.linalg.solve import NormalEquations
from revive.models.site import Site

LeastSquaresOptionsT = TypeVar("LeastSquaresOptionsT", bound=TargetOptions)
MemitOptionsT = TypeVar("MemitOptionsT", bound=MemitOptions)


class LeastSquaresEditor(TargetEditor[LeastSquaresOptionsT]):
    """Targets, keys, and one regularised least-squares solve per layer."""

    solves_under_guards: ClassVar[bool] = True
    history: ClassVar[bool] = False
    """Whether the keys of committed batches stay in A."""

    def __init__(self, options: LeastSquaresOptionsT) -> None:
        super().__init__(options)
        self._equations: dict[str, NormalEquations] = {}

    @abstractmethod
    def equations(self, site: Site, context: EditContext) -> NormalEquations:
        """A at one site, before the first batch."""

    def shape(self, site: Site, update: LowRank, context: EditContext) -> LowRank:
        """What is proposed of a solved update; all of it unless a method says otherwise."""
        del site, context
        return update

    def prepare(self, context: EditContext) -> None:
        """Factorise A once per site."""
        self._equations = {s.parameter: self.equations(s, context) for s in context.sites}

    def spread(self, solved: SolvedBatch, context: EditContext) -> Updates:
        """Propose one update per layer, from the lowest up."""
        seconds = {"targets": solved.seconds, "keys": 0.0, "solve": 0.0}
        if not solved.rows:
            return Outcome(failed=solved.failed, seconds=seconds)
        last = context.sites[-1]
        sweep = KeySweep(
            context.runner,
            solved.rows,
            context.sites[0].layer,
            average_contexts=self.options.key_average,
        )
        increment: dict[str, Tensor] = {}
        for index, site in enumerate(context.sites):
            started = time.perf_counter()
            keys = sweep.keys(site)
            missing = solved.z.T - sweep.outputs(last.layer)
            share = sweep.pulled_back(site, missing / (len(context.sites) - index))
            solving = time.perf_counter()
            seconds["keys"] += solving - started
            update = solve_update(self._equations[site.parameter], keys, share, site, context)
            shaped = self.shape(site, update, context)
            seconds["solve"] += time.perf_counter() - solving
            yield WeightUpdate(site, shaped, solved.indices if shaped is update else None)
            if self.history:
                increment[f"keys.{site.parameter}"] = keys
        return Outcome(increment, solved.failed, solved.notes, seconds)

    def advance(self, increment: Mapping[str, Tensor]) -> None:
        """Add a committed batch's keys to the history."""
        for name, keys in increment.items():
            key = name.removeprefix("keys.")
            self._equations[key] = self._equations[key].with_history(keys)


class CovarianceEditor(LeastSquaresEditor[MemitOptionsT]):
    """The members whose A begins as lambda C."""

    def equations(self, site: Site, context: EditContext) -> NormalEquations:
        """Lambda C."""
        moment = context.moments[site.parameter].value()
        return NormalEquations(moment, known(self.options.ridge, "ridge"))


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
    metric = context.metrics.get(site.parameter)
    if metric is not None:
        return equations.weighted_update(keys, residual, metric)
    basis = context.bases.get(site.parameter)
    if basis is not None:
        return equations.constrained_update(keys, residual, basis)
    return equations.solve_update(keys, residual)
