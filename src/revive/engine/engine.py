"""The engine: one batch of edits from text to written weights, as a transaction.

The run loop and `revive.Editor` both drive it; neither writes a weight.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from revive.data.edits import Edit
from revive.editors.base import (
    BatchOutcome,
    EditContext,
    EditMethod,
    Updates,
    WeightUpdate,
    WrittenUpdate,
)
from revive.editors.target_editor import SolvedBatch, TargetEditor
from revive.errors import SpecError
from revive.guards.fitted import FittedGuard
from revive.linalg.blocks import Blocks
from revive.linalg.lowrank import LowRank
from revive.models.ledger import Ledger
from revive.wording import counted

_LEFT, _RIGHT, _OWNER = "left|", "right|", "owner|"
STATE = "state|"
"""Begins the name of a stored tensor that advances the editor."""

_TOLD = 8  # sites; mixtures of experts have hundreds


@dataclass(frozen=True)
class BatchResult:
    """What one batch did.

    Attributes:
        updates: The guarded factors as committed, by parameter name.
        applied: One entry per site, in the order of writing.
        outcome: The editor's own account.
        made: Edits that were made.
        columns: By parameter name, the edit in `made` that each column of its factors belongs to;
            without an entry where an update is no sum of one part per edit.
        failed: Reason by edit id.
        withheld: By edit id, the share of its update's energy that the guard took out; of editors
            whose update is a sum of one part per edit.
        seconds: Time by phase: targets, keys, solve, guard, write.
    """

    updates: Mapping[str, LowRank]
    applied: tuple[WrittenUpdate, ...]
    outcome: BatchOutcome
    made: tuple[str, ...]
    columns: Mapping[str, tuple[int, ...]]
    failed: Mapping[str, str]
    withheld: Mapping[str, float]
    seconds: Mapping[str, float]

    def __repr__(self) -> str:
        """What was made and how much was written where, without the numbers themselves."""
        norms = [f"{a.site.key} {a.asked:.4g} -> {a.applied:.4g}" for a in self.applied]
        told = ", ".join([*norms[:_TOLD], *(["..."] if len(norms) > _TOLD else [])])
        return (
            f"<batch of {counted(len(self.made), 'edit')}, {len(self.failed)} failed; "
            f"norm asked -> applied: {told}; {sum(self.seconds.values()):.2f} s>"
        )

    def tensors(self) -> dict[str, Tensor]:
        """Everything that replaying the batch needs."""
        stored: dict[str, Tensor] = {}
        for key, factors in self.updates.items():
            stored[_LEFT + key] = factors.left
            stored[_RIGHT + key] = factors.right
            if key in self.columns:
                stored[_OWNER + key] = torch.tensor(self.columns[key], dtype=torch.int32)
        for key, value in self.outcome.increment.items():
            stored[STATE + key] = value
        return stored


def stored_updates(tensors: Mapping[str, Tensor]) -> dict[str, LowRank]:
    """Factors by parameter name, from a stored batch."""
    keys = [name.removeprefix(_LEFT) for name in tensors if name.startswith(_LEFT)]
    return {key: LowRank(tensors[_LEFT + key], tensors[_RIGHT + key]) for key in keys}


def stored_columns(tensors: Mapping[str, Tensor]) -> dict[str, list[int]]:
    """By parameter name, the made edit that each column of a stored update belongs to."""
    owners = {n: t for n, t in tensors.items() if n.startswith(_OWNER)}
    return {name.removeprefix(_OWNER): [int(i) for i in t] for name, t in owners.items()}


@dataclass(frozen=True)
class SolvedAhead:
    """Targets of a batch that were solved on the unedited model, before it was its turn.

    Attributes:
        edits: The batch.
        solved: Its targets.
    """

    edits: tuple[Edit, ...]
    solved: SolvedBatch


class Engine:
    """Editor, guard and ledger of one model, and nothing else.

    Attributes:
        ahead: Targets of the first batch, where a calibration has solved them: the same edits are
            not solved for again. They hold for the unedited model alone.
    """

    def __init__(
        self,
        context: EditContext,
        ledger: Ledger,
        editor: EditMethod[Any],
        guard: FittedGuard,
        ahead: SolvedAhead | None = None,
    ) -> None:
        self.context = context
        self.ledger = ledger
        self.editor = editor
        self.guard = guard
        self.ahead = ahead

    def apply(self, edits: Sequence[Edit]) -> BatchResult:
        """Make one batch of edits.

        Raises:
            NumericalError: A non-finite update; weights are as before the batch.
        """
        with self.ledger.transaction():
            outcome, applied, seconds = self.drive(self._proposed(edits))
            # In the layout that a stored batch has, so that replaying it rounds alike.
            increment = {k: v.contiguous() for k, v in outcome.increment.items()}
            self.editor.advance(increment)
        failed = {edits[i].id: reason for i, reason in outcome.failed.items()}
        made = [i for i in range(len(edits)) if i not in outcome.failed]
        place = {index: position for position, index in enumerate(made)}
        return BatchResult(
            updates={a.site.key: a.factors for a in applied},
            applied=tuple(applied),
            outcome=replace(outcome, increment=increment, seconds={}),
            made=tuple(edits[i].id for i in made),
            columns={
                a.site.key: tuple(place[i] for i in a.owners)
                for a in applied
                if a.owners is not None
            },
            failed=failed,
            withheld={edits[i].id: x for i, x in _withheld(applied, len(edits)).items()},
            seconds={**outcome.seconds, **seconds},
        )

    def _proposed(self, edits: Sequence[Edit]) -> Updates:
        """What the editor proposes for a batch, from targets solved ahead where they are these."""
        context, editor, ahead = self._context(), self.editor, self.ahead
        self.ahead = None
        # A guard that editors solve under keeps targets out of its directions.
        if ahead is not None and ahead.edits == tuple(edits) and not context.bases:
            assert isinstance(editor, TargetEditor), "solved for it"
            return editor.spread(ahead.solved, context)
        return editor.edit(edits, context)

    def drive(self, steps: Updates) -> tuple[BatchOutcome, list[WrittenUpdate], dict[str, float]]:
        """Guard and write what an editor proposes, inside a transaction that is open.

        Returns:
            The editor's account, what was written, and seconds by phase: guard, write.
        """
        seconds = {"guard": 0.0, "write": 0.0}
        late = self.guard.guard.when == "batch"
        applied: list[WrittenUpdate] = []
        answer: WrittenUpdate | None = None
        while True:
            try:
                proposed = next(steps) if answer is None else steps.send(answer)
            except StopIteration as stop:
                outcome: BatchOutcome = stop.value
                break
            answer = self._write(proposed, seconds, not late)
            applied.append(answer)
        parts, applied = len(applied), summed(applied)
        if len(applied) < parts and not late:
            # A replay adds a site's whole update in one product, and rounds once.
            self.ledger.rewind()
            applied = [self._again(whole) for whole in applied]
        if late:
            self.ledger.rewind()
            whole = [WeightUpdate(a.site, a.factors, a.owners) for a in applied]
            applied = [self._write(update, seconds, True) for update in whole]
        return outcome, applied, seconds

    def _context(self) -> EditContext:
        """What the editor reads; with the guard's directions where it solves under them."""
        guard = self.guard.guard
        if guard.mode == "posthoc":
            return self.context
        if guard.follows:
            for key in self.ledger.sites:
                self.guard.refit(key, self.ledger.weight(key))
        return self.shown(self.context, self.guard)

    @staticmethod
    def shown(context: EditContext, guard: FittedGuard) -> EditContext:
        """What editors read under a guard that they solve under."""
        if guard.guard.mode == "constrained":
            return replace(context, bases=guard.bases())
        if guard.guard.mode == "weighted":
            return replace(context, metrics=guard.metrics())
        return context

    def replay(self, tensors: Mapping[str, Tensor]) -> None:
        """Repeat a stored batch: the ledger's sums and the editor's state, no computation."""
        for key, factors in stored_updates(tensors).items():
            self.ledger.commit(key, factors)
        self.advance(tensors)

    def advance(self, tensors: Mapping[str, Tensor]) -> None:
        """Move the editor's state past a stored batch; weights stay as they are."""
        self.ahead = None
        self.editor.advance(
            {n.removeprefix(STATE): t for n, t in tensors.items() if n.startswith(STATE)}
        )

    def _again(self, whole: WrittenUpdate) -> WrittenUpdate:
        """Write what was written in parts as one update."""
        key = whole.site.key
        written = self.ledger.commit(key, whole.factors, self.guard.basis(key))
        return replace(whole, applied=written.applied, leak=written.leak)

    def _write(
        self, update: WeightUpdate, seconds: dict[str, float], guarded: bool
    ) -> WrittenUpdate:
        key, proposed = update.site.key, update.factors
        site = self.ledger.sites.get(key)
        if site is None:
            raise SpecError(f"editor proposed an update of {key}, which is not an edited site.")
        started = time.perf_counter()
        result = self.guard.filter_factors(proposed, key, weight=self.ledger.weight, active=guarded)
        guarding = time.perf_counter()
        factors = LowRank(result.update.left.contiguous(), result.update.right.contiguous())
        written = self.ledger.commit(key, factors, self.guard.basis(key))
        kept = result.columns and result.update.rank == proposed.rank
        seconds["guard"] += guarding - started
        seconds["write"] += time.perf_counter() - guarding
        return WrittenUpdate(
            site=site,
            asked=proposed.fro(),
            applied=written.applied,
            removed=result.removed,
            leak=written.leak,
            rank=result.rank,
            factors=factors,
            owners=update.owners if kept else None,
            columns=proposed.column_squares() if kept and update.owners is not None else None,
        )


def summed(applied: Sequence[WrittenUpdate]) -> list[WrittenUpdate]:
    """One account per site, in order of first writing.

    Where a site was written several times, updates and columns are joined; shares are means,
    weighted by what was asked (removed) and applied (leak) in squared norm.
    """
    by_site: dict[str, list[WrittenUpdate]] = {}
    for one in applied:
        by_site.setdefault(one.site.key, []).append(one)
    return [_sum(parts) if len(parts) > 1 else parts[0] for parts in by_site.values()]


def _sum(parts: Sequence[WrittenUpdate]) -> WrittenUpdate:
    factors = LowRank(
        torch.cat([p.factors.left for p in parts], dim=1),
        torch.cat([p.factors.right for p in parts], dim=0),
    )
    asked = sum(p.asked**2 for p in parts)
    written = sum(p.applied**2 for p in parts)
    removed = Blocks.none()
    for part in parts:
        removed = removed.plus(part.removed.scaled(part.asked**2 / asked if asked else 0.0))
    leak = sum(p.leak * p.applied**2 for p in parts) / written if written else 0.0
    owners = [p.owners for p in parts]
    joined = None if None in owners else tuple(i for o in owners for i in o or ())
    columns = [p.columns for p in parts if p.columns is not None]
    return replace(
        parts[0],
        asked=asked**0.5,
        applied=factors.fro(),
        removed=removed,
        leak=leak,
        rank=max(p.rank for p in parts),
        factors=factors,
        owners=joined,
        columns=torch.cat(columns) if len(columns) == len(parts) else None,
    )


def _withheld(applied: Sequence[WrittenUpdate], count: int) -> dict[int, float]:
    """By index of an edit: the share of its update's energy, over all sites, that is missing.

    Args:
        applied: One account per site.
        count: Edits of the batch.
    """
    asked, kept = torch.zeros(count, dtype=torch.float64), torch.zeros(count, dtype=torch.float64)
    for one in applied:
        if one.owners is None or one.columns is None:
            return {}
        owners = torch.tensor(one.owners)
        asked.index_add_(0, owners, one.columns.cpu())
        kept.index_add_(0, owners, one.factors.column_squares().cpu())
    share = (1 - kept / asked).clamp(min=0.0)
    return {i: x for i, x in enumerate(share.tolist()) if x == x}
