"""The engine: one batch of edits from text to written weights, as a transaction.

The run loop and `revive.Editor` both drive it; neither writes a weight.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from revive.data.edits import Edit
from revive.editors.base import Applied, EditContext, Editor, Outcome, Updates
from revive.errors import SpecError
from revive.guards.fitted import FittedGuard
from revive.linalg.lowrank import LowRank
from revive.models.ledger import Ledger

_LEFT, _RIGHT, _STATE = "left|", "right|", "state|"


@dataclass(frozen=True)
class BatchResult:
    """What one batch did.

    Attributes:
        updates: The guarded factors as committed, by parameter name.
        applied: One entry per site, in the order of writing.
        outcome: The editor's own account.
        made: Edits that were made, in factor-column order.
        failed: Reason by edit id.
        seconds: Time by phase: targets, keys, solve, guard, write.
    """

    updates: Mapping[str, LowRank]
    applied: tuple[Applied, ...]
    outcome: Outcome
    made: tuple[str, ...]
    failed: Mapping[str, str]
    seconds: Mapping[str, float]

    def tensors(self) -> dict[str, Tensor]:
        """Everything that replaying the batch needs."""
        stored: dict[str, Tensor] = {}
        for key, factors in self.updates.items():
            stored[_LEFT + key] = factors.left
            stored[_RIGHT + key] = factors.right
        for key, value in self.outcome.increment.items():
            stored[_STATE + key] = value
        return stored


def stored_updates(tensors: Mapping[str, Tensor]) -> dict[str, LowRank]:
    """Factors by parameter name, from a stored batch."""
    keys = [name.removeprefix(_LEFT) for name in tensors if name.startswith(_LEFT)]
    return {key: LowRank(tensors[_LEFT + key], tensors[_RIGHT + key]) for key in keys}


class Engine:
    """Editor, guard and ledger of one model, and nothing else."""

    def __init__(
        self, context: EditContext, ledger: Ledger, editor: Editor, guard: FittedGuard
    ) -> None:
        self.context = context
        self.ledger = ledger
        self.editor = editor
        self.guard = guard

    def apply(self, edits: Sequence[Edit]) -> BatchResult:
        """Make one batch of edits.

        Raises:
            NumericalError: A non-finite update; weights are as before the batch.
        """
        with self.ledger.transaction():
            outcome, applied, seconds = self.drive(self.editor.edit(edits, self._context()))
            # In the layout that a stored batch has, so that replaying it rounds alike.
            increment = {k: v.contiguous() for k, v in outcome.increment.items()}
            self.editor.advance(increment)
        failed = {edits[i].id: reason for i, reason in outcome.failed.items()}
        made = tuple(e.id for i, e in enumerate(edits) if i not in outcome.failed)
        return BatchResult(
            updates={a.site.parameter: a.factors for a in applied},
            applied=tuple(applied),
            outcome=replace(outcome, increment=increment, seconds={}),
            made=made,
            failed=failed,
            seconds={**outcome.seconds, **seconds},
        )

    def drive(self, steps: Updates) -> tuple[Outcome, list[Applied], dict[str, float]]:
        """Guard and write what an editor proposes, inside a transaction that is open.

        Returns:
            The editor's account, what was written, and seconds by phase: guard, write.
        """
        seconds = {"guard": 0.0, "write": 0.0}
        late = self.guard.guard.when == "batch"
        applied: list[Applied] = []
        answer: Applied | None = None
        while True:
            try:
                proposed = next(steps) if answer is None else steps.send(answer)
            except StopIteration as stop:
                outcome: Outcome = stop.value
                break
            answer = self._write(proposed.site.parameter, proposed.factors, seconds, not late)
            applied.append(answer)
        if late:
            self.ledger.rewind()
            applied = [self._write(a.site.parameter, a.factors, seconds, True) for a in applied]
        return outcome, applied, seconds

    def _context(self) -> EditContext:
        """What the editor reads; with the guard's directions where it solves under them."""
        guard = self.guard.guard
        if not guard.constrained:
            return self.context
        if guard.basis == "current":
            for key in self.ledger.sites:
                self.guard.refit(key, self.ledger.weight(key))
        return replace(self.context, bases=self.guard.bases())

    def replay(self, tensors: Mapping[str, Tensor]) -> None:
        """Repeat a stored batch: the ledger's sums and the editor's state, no computation."""
        for key, factors in stored_updates(tensors).items():
            self.ledger.commit(key, factors)
        self.advance(tensors)

    def advance(self, tensors: Mapping[str, Tensor]) -> None:
        """Move the editor's state past a stored batch; weights stay as they are."""
        self.editor.advance(
            {n.removeprefix(_STATE): t for n, t in tensors.items() if n.startswith(_STATE)}
        )

    def _write(
        self, key: str, proposed: LowRank, seconds: dict[str, float], guarded: bool
    ) -> Applied:
        site = self.ledger.sites.get(key)
        if site is None:
            raise SpecError(f"editor proposed an update of {key}, which is not an edited site.")
        started = time.perf_counter()
        result = self.guard.filter_factors(proposed, key, weight=self.ledger.weight, active=guarded)
        guarding = time.perf_counter()
        update = LowRank(result.update.left.contiguous(), result.update.right.contiguous())
        written = self.ledger.commit(key, update, self.guard.basis(key))
        seconds["guard"] += guarding - started
        seconds["write"] += time.perf_counter() - guarding
        return Applied(
            site=site,
            asked=proposed.fro(),
            applied=written.applied,
            removed=result.removed,
            leak=written.leak,
            rank=result.rank,
            factors=update,
        )
