"""MEMIT, and MEMIT with a history of the keys it has written.

Paper: Meng et al., Mass-Editing Memory in a Transformer, arXiv 2210.07229, eq. 14:
    dW = R K^T (lambda C + K K^T)^{-1}
With history (Gupta et al., arXiv 2401.07453 and the memit-seq baseline of arXiv 2410.02355):
    dW = R K^T (lambda C + K_p K_p^T + K K^T)^{-1},  then K_p <- [K_p, K]

Defaults: each model's preset holds the published values; see `revive/presets`.

Differs from the paper:
- The residual at layer i is what is still missing, divided by the layers left, as in the authors'
  code; the paper's text spreads one residual computed at the start.
- Contexts are seeded (`contexts.py`).
- With `solve: constrained` the least squares are solved under the guard's constraint, and the
  target is optimised inside the complement of the last site's U_k. This is ours.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeVar, final

import torch
from torch import Tensor

from revive.data.edits import Edit
from revive.editors.base import (
    NOT_FINITE,
    EditContext,
    Editor,
    Outcome,
    Updates,
    WeightUpdate,
)
from revive.editors.keys import KeySweep
from revive.editors.options import MemitOptions
from revive.editors.rows import EditRows, encode_edit
from revive.editors.targets import Targets, TargetSettings, solve_targets
from revive.errors import SpecError
from revive.linalg.lowrank import LowRank
from revive.linalg.solve import NormalEquations
from revive.models.runner import context_length
from revive.models.site import Site

_T = TypeVar("_T")


@dataclass(frozen=True)
class SolvedBatch:
    """Targets of one batch, before any weight is touched.

    Attributes:
        rows: Tokenised edits that can be made.
        z: `[n, d]` wanted output of the last edited block, one row per entry of `rows`.
        failed: Reason by index into the batch.
        notes: Numbers for the journal.
        seconds: Time taken.
    """

    rows: tuple[EditRows, ...]
    z: Tensor
    failed: dict[int, str]
    notes: dict[str, float]
    seconds: float


class LeastSquaresEditor(Editor):
    """Targets, keys, and one regularised least-squares solve per layer."""

    history: ClassVar[bool]

    def __init__(self, options: MemitOptions) -> None:
        super().__init__(options)
        self._equations: dict[str, NormalEquations] = {}

    def prepare(self, context: EditContext) -> None:
        """Factorise lambda C once per site."""
        ridge = _known(self.options.ridge, "ridge")
        self._equations = {
            site.parameter: NormalEquations(context.moments[site.parameter].value(), ridge)
            for site in context.sites
        }

    def edit(self, batch: Sequence[Edit], context: EditContext) -> Updates:
        """Solve targets, then propose one update per layer, from the lowest up."""
        solved = self.solve_batch(batch, context)
        return (yield from self.spread(solved, context))

    def solve_batch(self, batch: Sequence[Edit], context: EditContext) -> "SolvedBatch":
        """Tokenise and solve the targets; edits that cannot be made are set aside."""
        started = time.perf_counter()
        rows, failed = encode_batch(batch, context)
        last = context.sites[-1]
        kept = list(rows)
        targets = None
        if kept:
            targets = solve_targets(
                context.runner,
                list(rows.values()),
                target_settings(self.options, last.layer),
                avoid=context.bases.get(last.parameter),
            )
            for position in targets.failed.nonzero().flatten().tolist():
                failed[kept[position]] = NOT_FINITE
        good = tuple(i for i in kept if i not in failed)
        z = torch.zeros(0)
        if targets is not None:
            z = targets.z[~targets.failed]
        notes = _notes(targets) if targets is not None and good else {}
        elapsed = time.perf_counter() - started
        return SolvedBatch(tuple(rows[i] for i in good), z, failed, notes, elapsed)

    def spread(self, solved: "SolvedBatch", context: EditContext) -> Updates:
        """Spread solved targets over the edited layers."""
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
            solving = time.perf_counter()
            seconds["keys"] += solving - started
            update = self._solve(site, keys, missing / (len(context.sites) - index), context)
            seconds["solve"] += time.perf_counter() - solving
            yield WeightUpdate(site, update)
            if self.history:
                increment[f"keys.{site.parameter}"] = keys
        return Outcome(increment, solved.failed, solved.notes, seconds)

    def advance(self, increment: Mapping[str, Tensor]) -> None:
        """Add a committed batch's keys to the history."""
        for name, keys in increment.items():
            key = name.removeprefix("keys.")
            self._equations[key] = self._equations[key].with_history(keys)

    def _solve(self, site: Site, keys: Tensor, residual: Tensor, context: EditContext) -> LowRank:
        equations = self._equations[site.parameter]
        basis = context.bases.get(site.parameter)
        if basis is None:
            return equations.solve_update(keys, residual)
        return equations.constrained_update(keys, residual, basis)


@final
class Memit(LeastSquaresEditor):
    """MEMIT as published: every batch forgets the ones before."""

    name: ClassVar[str] = "memit"
    paper: ClassVar[str] = "arXiv:2210.07229"
    summary: ClassVar[str] = "least squares over the batch, regularised by the key second moment"
    history: ClassVar[bool] = False


@final
class MemitSeq(LeastSquaresEditor):
    """MEMIT that also preserves the keys of all edits so far."""

    name: ClassVar[str] = "memit-seq"
    paper: ClassVar[str] = "arXiv:2210.07229, arXiv:2410.02355"
    summary: ClassVar[str] = "MEMIT with the keys of earlier edits in the least squares"
    history: ClassVar[bool] = True


def encode_batch(
    batch: Sequence[Edit], context: EditContext
) -> tuple[dict[int, EditRows], dict[int, str]]:
    """Tokenise a batch; an edit that cannot be tokenised fails alone, with its reason."""
    limit = context_length(context.runner.model)
    rows: dict[int, EditRows] = {}
    failed: dict[int, str] = {}
    for index, edit in enumerate(batch):
        try:
            rows[index] = encode_edit(context.tokenizer, edit, context.contexts, limit)
        except SpecError as error:
            failed[index] = str(error)
    return rows, failed


def target_settings(options: MemitOptions, layer: int) -> TargetSettings:
    """The solver's settings from resolved editor options."""
    return TargetSettings(
        layer=layer,
        steps=_known(options.steps, "steps"),
        lr=_known(options.lr, "lr"),
        weight_decay=_known(options.weight_decay, "weight_decay"),
        kl_factor=_known(options.kl_factor, "kl_factor"),
        clamp=_known(options.clamp, "clamp"),
        stop_loss=options.stop_loss,
    )


def _known(value: _T | None, name: str) -> _T:
    if value is None:
        raise SpecError(f"editor.{name}: not set; resolve the spec with a preset first.")
    return value


def _notes(targets: Targets) -> dict[str, float]:
    good = ~targets.failed
    loss, first = targets.loss[good], targets.first_loss[good]
    relative = (targets.z - targets.z0)[good].norm(dim=1) / targets.z0[good].norm(dim=1)
    return {
        "target_loss": float(loss.mean()),
        "target_first_loss": float(first.mean()),
        "target_solved": float((loss < 0.5).double().mean()),
        "target_evaluations": float(targets.evaluations.double().mean()),
        "target_shift": float(relative.mean()),
    }
