"""PRUNE: MEMIT, with the singular values of the sum of all updates restrained.

Paper: Ma et al., Perturbation-Restrained Sequential Model Editing, arXiv 2405.16821. With D the
sum of all updates so far, U S V^T its decomposition, and s0 = s_max(W0), every S_i > s0 becomes
    log_b S_i - log_b s0 + s0
and the model is W = W0 + f(D). See `linalg/restraint.py`.

Defaults: b = e, as in the authors' code; the rest is MEMIT's.

Differs from the paper:
- The paper restrains once, after the last edit of a run. Here the model is restrained after every
  batch, so that it can be measured and used at any time. With `restrain: once` the restraint is
  lifted before the next batch: the model after T batches is the published one's for a stream that
  ends there. `restrain: every-batch` computes edits on the restrained model instead.
- `application: upstream` is W0 + D + f(D), what a widely copied code applies.
- D is the sum of what was written, under a guard of what the guard let through.
- D is kept as factors, in fp64, and only what lies above s0 is corrected. No single edit can be
  taken out later: the restraint is not linear.
"""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace
from typing import ClassVar, final

import torch
from torch import Tensor

from revive.data.edits import Edit
from revive.editors.base import EditContext, Updates, WeightUpdate, WrittenUpdate
from revive.editors.intercept_updates import intercept_updates
from revive.editors.least_squares import CovarianceEditor
from revive.editors.target_editor import SolvedBatch
from revive.errors import NumericalError
from revive.linalg.lowrank import LowRank
from revive.linalg.norm import spectral_norm
from revive.linalg.restraint import Restraint
from revive.models.site import Site
from revive.options.editors import PruneOptions

# Rounding of fp64 factors; columns below it say nothing.
_NOTHING = 1e-12
_WRITTEN, _CORRECTION = "written", "correction"


@final
class Prune(CovarianceEditor[PruneOptions]):
    """MEMIT under PRUNE's restraint."""

    name: ClassVar[str] = "prune"
    paper: ClassVar[str] = "arXiv:2405.16821"
    summary: ClassVar[str] = "MEMIT with the singular values of all its updates' sum restrained"
    options_model = PruneOptions

    def __init__(self, options: PruneOptions) -> None:
        super().__init__(options)
        self._restraints: dict[str, Restraint] = {}
        self._devices: dict[str, torch.device] = {}
        self._sums: dict[str, LowRank] = {}
        self._corrections: dict[str, LowRank] = {}

    def prepare(self, context: EditContext) -> None:
        """Factorise A, and measure the largest singular value, once per site.

        Of experts, those that are written to, when they are.

        Raises:
            NumericalError: A weight is zero.
        """
        super().prepare(context)
        self._restraints = {}
        for site in context.sites:
            original = context.weights.original(site.key)
            self._devices[site.key] = original.device
            if site.expert is None:
                self._restraint_at(site.key, original)

    def edit(self, batch: Sequence[Edit], context: EditContext) -> Updates:
        """Solve and spread targets, on the unrestrained model with `restrain: once`."""
        if self.options.restrain == "once":
            yield from self._lift(context)
        return (yield from super().edit(batch, context))

    def spread(self, solved: SolvedBatch, context: EditContext) -> Updates:
        """Propose one update per layer, then what restrains the sums."""
        increment: dict[str, Tensor] = {}
        sums = dict(self._sums)

        def see(proposed: WeightUpdate, answer: WrittenUpdate) -> None:
            key = proposed.site.key
            here = answer.factors.to(answer.factors.left.dtype, self._devices[key])
            sums[key] = _added(sums.get(key), here)
            increment.update(_stored(_WRITTEN, key, answer.factors))

        outcome = yield from intercept_updates(super().spread(solved, context), see)
        if self.options.restrain == "every-batch":
            yield from self._lift(context)
        restrained = 0
        for site in context.sites:
            correction = self._correction(site, sums, context)
            if correction is not None:
                answer = yield WeightUpdate(site, correction)
                increment.update(_stored(_CORRECTION, site.key, answer.factors))
                restrained += correction.rank
        notes = {**outcome.notes, "restrained": float(restrained)}
        return replace(outcome, increment=increment, notes=notes)

    def advance(self, increment: Mapping[str, Tensor]) -> None:
        """Add a committed batch's updates to the sums, and know what restrains them."""
        self.take_anchor(increment)
        for key, update in _read(_WRITTEN, increment).items():
            # Read back from a run folder, factors are on the CPU.
            here = update.to(update.left.dtype, self._devices[key])
            self._sums[key] = _added(self._sums.get(key), here).compressed(_NOTHING)
        self._corrections = {
            key: factors.to(factors.left.dtype, self._devices[key])
            for key, factors in _read(_CORRECTION, increment).items()
        }

    def _lift(self, context: EditContext) -> Generator[WeightUpdate, WrittenUpdate, None]:
        """Take the last batch's restraint out of the weights."""
        for site in context.sites:
            written = self._corrections.get(site.key)
            if written is not None:
                yield WeightUpdate(site, written.scaled(-1.0))

    def _correction(
        self, site: Site, sums: Mapping[str, LowRank], context: EditContext
    ) -> LowRank | None:
        """What makes W0 + D the restrained weight; None where nothing does."""
        total = sums.get(site.key)
        if total is None:
            return None
        original = context.weights.original(site.key)
        restraint = self._restraint_at(site.key, original)
        upstream = self.options.application == "upstream"
        found = restraint.restrained(total) if upstream else restraint.correction(total)
        return found.to(original.dtype, original.device) if found.rank else None

    def _restraint_at(self, key: str, original: Tensor) -> Restraint:
        """What the sum at one site is held to, by its original weight."""
        if key not in self._restraints:
            bound = spectral_norm(original)
            if bound == 0.0:
                raise NumericalError(
                    f"{key} is zero; there is no size to restrain updates to. Edit other layers, "
                    "or use memit."
                )
            self._restraints[key] = Restraint(bound, self.options.function, self.options.base)
        return self._restraints[key]


def _added(total: LowRank | None, update: LowRank) -> LowRank:
    wide = update.to(torch.float64)
    return wide if total is None else total + wide


def _stored(name: str, key: str, factors: LowRank) -> dict[str, Tensor]:
    return {f"{name}.left.{key}": factors.left, f"{name}.right.{key}": factors.right}


def _read(name: str, increment: Mapping[str, Tensor]) -> dict[str, LowRank]:
    left, right = f"{name}.left.", f"{name}.right."
    keys = [n.removeprefix(left) for n in increment if n.startswith(left)]
    return {key: LowRank(increment[left + key], increment[right + key]) for key in keys}
