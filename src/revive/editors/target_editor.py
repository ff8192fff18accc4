"""What editors that aim at a target share: tokenise a batch, solve its targets, set failures aside.

The target is what the last edited block should output at the subject's last token (`targets.py`).
Solving is one step, spreading the solved targets over the edited layers another, so that a
calibration solves once and spreads many times.
"""

import time
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import torch
from torch import Tensor

from revive.data.edits import Edit
from revive.data.prompts import Prompts, check_forms
from revive.editors.base import NOT_FINITE, EditContext, EditMethod, Updates
from revive.editors.target_solver.targets import Targets, TargetSettings, solve_targets
from revive.editors.target_solver.tokenized_edit import TokenizedEdit, encode_edit
from revive.errors import SpecError
from revive.models.forward.runner import context_length
from revive.models.site import Site
from revive.options.editors import TargetOptions

SOLVED = 0.5
"""A target is solved whose loss ends below this, nats."""

_T = TypeVar("_T")
TargetOptionsT = TypeVar("TargetOptionsT", bound=TargetOptions)


@dataclass(frozen=True)
class SolvedBatch:
    """Targets of one batch, before any weight is touched.

    Attributes:
        rows: Tokenised edits that can be made.
        indices: Their indices into the batch.
        z: `[n, d]` wanted output of the last edited block, one row per entry of `rows`.
        failed: Reason by index into the batch.
        notes: Numbers for the journal.
        seconds: Time taken.
        unsolved: Last loss by index into the batch, of targets that were not reached.
        state: What the editor's state takes over from this batch's targets.
    """

    rows: tuple[TokenizedEdit, ...]
    indices: tuple[int, ...]
    z: Tensor
    failed: dict[int, str]
    notes: dict[str, float]
    seconds: float
    unsolved: dict[int, float] = field(default_factory=dict[int, float])
    state: dict[str, Tensor] = field(default_factory=dict[str, Tensor])


@dataclass(frozen=True)
class Adjusted:
    """Targets as they are to be written.

    Attributes:
        z: `[n, d]`.
        dropped: Reason by row, of those that are not written.
        state: As in `SolvedBatch`.
    """

    z: Tensor
    dropped: Mapping[int, str] = field(default_factory=dict[int, str])
    state: Mapping[str, Tensor] = field(default_factory=dict[str, Tensor])


class TargetEditor(EditMethod[TargetOptionsT]):
    """Solves targets, then spreads them."""

    def edit(self, batch: Sequence[Edit], context: EditContext) -> Updates:
        """Solve targets, then propose updates."""
        return (yield from self.spread(self.solve_batch(batch, context), context))

    @abstractmethod
    def spread(self, solved: SolvedBatch, context: EditContext) -> Updates:
        """Propose the updates that reach solved targets."""

    def solve_batch(self, batch: Sequence[Edit], context: EditContext) -> SolvedBatch:
        """Tokenise and solve the targets; edits that cannot be made are set aside."""
        started = time.perf_counter()
        rows, failed = encode_batch(batch, context)
        site = self.anchor_site(context)
        kept = list(rows)
        targets = None
        state: dict[str, Tensor] = {}
        if kept:
            targets = solve_targets(
                context.runner,
                list(rows.values()),
                self.target_settings(site.layer),
                avoid=context.bases.get(site.key),
                measured_by=self.measure(list(rows.values()), context),
            )
            for position in targets.failed.nonzero().flatten().tolist():
                failed[kept[position]] = NOT_FINITE
            adjusted = self.adjusted(targets)
            for position, reason in adjusted.dropped.items():
                failed.setdefault(kept[position], reason)
            targets, state = replace(targets, z=adjusted.z), dict(adjusted.state)
        good = tuple(i for i in kept if i not in failed)
        z = torch.zeros(0)
        if targets is not None:
            z = targets.z[[position for position, i in enumerate(kept) if i not in failed]]
        notes = target_notes(targets) if targets is not None and good else {}
        unsolved = {} if targets is None else _unsolved(kept, targets)
        elapsed = time.perf_counter() - started
        kept_rows = tuple(rows[i] for i in good)
        return SolvedBatch(kept_rows, good, z, failed, notes, elapsed, unsolved, state)

    def anchor_site(self, context: EditContext) -> Site:
        """The site at whose block targets are solved."""
        return context.sites[-1]

    def adjusted(self, targets: Targets) -> "Adjusted":
        """What becomes of solved targets before they are written; nothing unless a method says."""
        return Adjusted(targets.z)

    def measure(self, rows: Sequence[TokenizedEdit], context: EditContext) -> Tensor | None:
        """What the length of a shift is measured by, `[n]`; None for the length of z_0."""
        del rows, context
        return None

    def target_settings(self, layer: int) -> TargetSettings:
        """The solver's settings."""
        return target_settings(self.options, layer)


def encode_batch(
    batch: Sequence[Edit], context: EditContext
) -> tuple[dict[int, TokenizedEdit], dict[int, str]]:
    """Tokenise a batch; an edit that cannot be tokenised fails alone, with its reason.

    Raises:
        SpecError: A chat is asked for, and there is no usable chat template.
    """
    limit = context_length(context.runner.model)
    prompts = Prompts(context.tokenizer)
    check_forms(context.tokenizer, batch)
    rows: dict[int, TokenizedEdit] = {}
    failed: dict[int, str] = {}
    for index, edit in enumerate(batch):
        try:
            rows[index] = encode_edit(context.tokenizer, edit, context.contexts, limit, prompts)
        except SpecError as error:
            failed[index] = str(error)
    return rows, failed


def target_settings(options: TargetOptions, layer: int) -> TargetSettings:
    """The solver's settings from resolved editor options."""
    polyak = options.optimizer == "polyak"
    return TargetSettings(
        layer=layer,
        steps=known(options.steps, "steps"),
        optimizer="polyak" if polyak else "adam",
        lr=0.0 if polyak else known(options.lr, "lr"),
        max_step=known(options.max_step, "max_step") if polyak else 0.0,
        weight_decay=known(options.weight_decay, "weight_decay"),
        kl_factor=known(options.kl_factor, "kl_factor"),
        clamp=known(options.clamp, "clamp"),
        stop_loss=options.stop_loss,
        stop_margin=options.stop_margin,
    )


def known(value: _T | None, name: str) -> _T:
    """A setting that the preset or a calibration must have filled in.

    Raises:
        SpecError: It has not been.
    """
    if value is None:
        raise SpecError(f"editor.{name}: not set; resolve the spec with a preset first.")
    return value


def _unsolved(kept: Sequence[int], targets: Targets) -> dict[int, float]:
    """Last loss by index into the batch, where a target is short of what it was to reach."""
    short = ~targets.stopped & (targets.loss >= SOLVED)
    return {kept[i]: float(targets.loss[i]) for i in short.nonzero().flatten().tolist()}


def target_notes(targets: Targets) -> dict[str, float]:
    """How the targets of a batch went, for the journal."""
    good = ~targets.failed
    loss, first = targets.loss[good], targets.first_loss[good]
    relative = (targets.z - targets.z0)[good].norm(dim=1) / targets.z0[good].norm(dim=1)
    return {
        "target_loss": float(loss.mean()),
        "target_first_loss": float(first.mean()),
        "target_solved": float((targets.stopped[good] | (loss < SOLVED)).double().mean()),
        "target_evaluations": float(targets.evaluations.double().mean()),
        "target_shift": float(relative.mean()),
    }
