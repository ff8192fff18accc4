"""Calibrate tau, the guard's energy share, on one fresh batch: one for all sites, or one for each.

The rule: on the unedited model, lambda as it is set, write one batch under the guard for every tau
of a fixed grid, score it, undo. Take the largest tau whose score (harmonic mean of efficacy,
paraphrase and neighbourhood) is within 0.02 of the unguarded batch's; the smallest if none is.
What protects most without costing the fresh edit is taken: what it saves shows only on a stream.
`energy: auto` gives every site its own tau: with that site alone guarded, the largest of the grid
at which neither efficacy nor paraphrase falls by more than 0.02 below the unguarded batch's, and
neighbourhood not at all by more than that; 0, no protection of that site, if there is none. A
larger tau buys neighbourhood with paraphrase (the paper's sweep); a site where it costs paraphrase
without buying anything is better left alone.
The paper sets tau = 0.1 for all models (arXiv 2601.11042) and gives no rule.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from revive.calibration.trials import Calibration, CalibrationTrial, solved_once, try_batch
from revive.data.edits import Edit
from revive.editors.base import EditContext, EditMethod
from revive.engine.engine import Engine
from revive.engine.originals import originals
from revive.errors import NumericalError, SpecError
from revive.guards.chain import Chain
from revive.guards.fitted import FittedGuard
from revive.guards.rule import GuardRule
from revive.models.ledger import Ledger

ENERGIES = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3)
COST = 0.02


def choose_energy(trials: Sequence[CalibrationTrial], cost: float = COST) -> float:
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
    editor: EditMethod[Any],
    guard: GuardRule,
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
    _with_energy(guard, 0.0)  # refused before anything is computed
    weights = originals(ledger)
    solved = solved_once(editor, batch, context)
    trials: list[CalibrationTrial] = []
    for index, energy in enumerate((0.0, *grid)):
        fitted = None
        seen, targets = context, solved
        if energy > 0:
            fitted = FittedGuard(_with_energy(guard, energy), weights)
            if fitted.guard.mode == "constrained":
                seen = Engine.shown(context, fitted)
                targets = solved_once(editor, batch, seen)
        trials.append(try_batch(energy, editor, targets, seen, ledger, tokenizer, batch, fitted))
        if progress is not None:
            progress(index + 1, len(grid) + 1)
    return Calibration(choose_energy(trials), tuple(trials))


def choose_site_energy(trials: Sequence[CalibrationTrial], cost: float = COST) -> float:
    """The rule of `energy: auto` for one site; the unguarded batch is the trial of value 0."""
    bare = next(t for t in trials if t.value == 0)

    def kept(trial: CalibrationTrial) -> bool:
        pairs = [
            (trial.efficacy, bare.efficacy),
            (trial.paraphrase, bare.paraphrase),
            (trial.neighborhood, bare.neighborhood),
        ]
        return all(math.isnan(before) or now >= before - cost for now, before in pairs)

    return max(t.value for t in trials if t.value == 0 or kept(t))


def choose_site_energies(
    editor: EditMethod[Any],
    guard: GuardRule,
    context: EditContext,
    ledger: Ledger,
    tokenizer: Any,
    batch: Sequence[Edit],
    *,
    grid: Sequence[float] = ENERGIES,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, float]:
    """Run the rule of `energy: auto`. The model is left as it was.

    Args:
        editor: Prepared, with its strength.
        guard: The guard, whose `energy` is replaced.
        context: What the editor reads.
        ledger: Writes the trials and undoes them.
        tokenizer: For scoring.
        batch: Fresh edits with paraphrases and neighbourhoods.
        grid: Values of tau to try.
        progress: Called with (trials done, trials in all).

    Returns:
        tau by parameter name.

    Raises:
        SpecError: The guard has no energy share.
    """
    _with_energy(guard, 0.0)  # refused before anything is computed
    weights = originals(ledger)
    solved = solved_once(editor, batch, context)
    count = len(weights) * len(grid) + 1
    bare = try_batch(0.0, editor, solved, context, ledger, tokenizer, batch)
    chosen: dict[str, float] = {}
    done = 1
    for key in weights:
        trials = [bare]
        for energy in grid:
            shares = {other: energy if other == key else 0.0 for other in weights}
            fitted = FittedGuard(_with_energy(guard, shares), weights)
            seen, targets = context, solved
            if fitted.guard.mode == "constrained":
                seen = Engine.shown(context, fitted)
                targets = solved_once(editor, batch, seen)
            trials.append(
                try_batch(energy, editor, targets, seen, ledger, tokenizer, batch, fitted)
            )
            done += 1
            if progress is not None:
                progress(done, count)
        chosen[key] = choose_site_energy(trials)
    return chosen


def _with_energy(guard: GuardRule, energy: float | Mapping[str, float]) -> GuardRule:
    """The same guard at another tau; of several in a list, the first.

    Raises:
        SpecError: It has none.
    """
    if isinstance(guard, Chain):
        first, *others = guard.guards
        return dataclasses.replace(guard, guards=(_with_energy(first, energy), *others))
    if not _has_energy(guard):
        raise SpecError(f"guard: {guard.name} has no energy share to calibrate.")
    if guard.mode == "weighted":
        raise SpecError("guard: solve: weighted cuts nothing, so it has no energy to calibrate.")
    changed: Any = dataclasses.replace(guard, **{"energy": energy})
    return changed


def _has_energy(guard: GuardRule) -> bool:
    return "energy" in {field.name for field in dataclasses.fields(guard)}
