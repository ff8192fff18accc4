"""Calibrate tau, the guard's energy share, on one fresh batch.

The rule: on the unedited model, lambda as it is set, write one batch under the guard for every tau
of a fixed grid, score it, undo. Take the largest tau whose score (harmonic mean of efficacy,
paraphrase and neighbourhood) is within 0.02 of the unguarded batch's; the smallest if none is.
What protects most without costing the fresh edit is taken: what it saves shows only on a stream.
The paper sets tau = 0.1 for all models (arXiv 2601.11042) and gives no rule.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

from revive.data.edits import Edit
from revive.editors.base import EditContext
from revive.editors.memit import LeastSquaresEditor
from revive.errors import NumericalError, SpecError
from revive.guards.base import Guard
from revive.guards.fitted import FittedGuard
from revive.models.ledger import Ledger
from revive.runs.trials import Calibration, Trial, try_batch

ENERGIES = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3)
COST = 0.02


def choose_energy(trials: Sequence[Trial], cost: float = COST) -> float:
    """The largest tau that costs at most `cost` of the unguarded score, else the smallest.

    Raises:
        NumericalError: The unguarded batch, the first trial, has no score.
    """
    unguarded = next(t.score for t in trials if t.value == 0)
    if math.isnan(unguarded):
        raise NumericalError(
            "calibration: the unguarded batch could not be scored; set guard.energy by hand."
        )
    guarded = [t for t in trials if t.value > 0]
    cheap = [t.value for t in guarded if t.score >= unguarded - cost]
    return max(cheap, default=min(t.value for t in guarded))


def calibrate_energy(
    editor: LeastSquaresEditor,
    guard: Guard,
    context: EditContext,
    ledger: Ledger,
    tokenizer: Any,
    batch: Sequence[Edit],
    *,
    grid: Sequence[float] = ENERGIES,
    progress: Callable[[int, int], None] | None = None,
) -> Calibration:
    """Run the rule above. The model is left as it was.

    Args:
        editor: Prepared, with its lambda.
        guard: The guard, whose `energy` is replaced.
        context: What the editor reads.
        ledger: Writes the trials and undoes them.
        tokenizer: For scoring.
        batch: Fresh edits with paraphrases and neighbourhoods.
        grid: Values of tau to try.
        progress: Called with (trials done, trials in all).

    Raises:
        SpecError: The guard has no energy share.
    """
    if "energy" not in {field.name for field in dataclasses.fields(guard)}:
        raise SpecError(f"guard: {guard.name} has no energy share to calibrate.")
    weights = {key: ledger.original(key) for key in ledger.sites}
    solved = editor.solve_batch(batch, context)
    trials: list[Trial] = []
    for index, energy in enumerate((0.0, *grid)):
        fitted = None
        seen, targets = context, solved
        if energy > 0:
            changed: Any = dataclasses.replace(guard, **{"energy": energy})
            fitted = FittedGuard(changed, weights)
            if changed.constrained:
                seen = dataclasses.replace(context, bases=fitted.bases())
                targets = editor.solve_batch(batch, seen)
        trials.append(try_batch(energy, editor, targets, seen, ledger, tokenizer, batch, fitted))
        if progress is not None:
            progress(index + 1, len(grid) + 1)
    return Calibration(choose_energy(trials), tuple(trials))
