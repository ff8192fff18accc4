"""One trial of a calibration: write solved targets, score the batch, undo."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from revive.data.edits import Edit
from revive.editors.base import EditContext, Editor
from revive.editors.target_editor import SolvedBatch, TargetEditor
from revive.guards.controls import NoGuard
from revive.guards.fitted import FittedGuard
from revive.models.ledger import Ledger
from revive.models.precision import products
from revive.probes.edits import score_edits
from revive.runs.engine import Engine
from revive.runs.originals import originals


@dataclass(frozen=True, slots=True)
class Trial:
    """One value of what is calibrated, and what it did to the fresh batch.

    Metrics are NaN for what the edits do not hold; without paraphrases or neighbours the score is
    `efficacy_exact`.
    """

    value: float
    efficacy: float
    efficacy_exact: float
    paraphrase: float
    neighborhood: float
    score: float


@dataclass(frozen=True)
class Calibration:
    """The chosen value and every trial."""

    value: float
    trials: tuple[Trial, ...]


def solved_once(
    editor: Editor[Any], batch: Sequence[Edit], context: EditContext
) -> SolvedBatch | None:
    """The targets that all trials of a calibration share; None for an editor without targets."""
    return editor.solve_batch(batch, context) if isinstance(editor, TargetEditor) else None


def try_batch(
    value: float,
    editor: Editor[Any],
    solved: SolvedBatch | None,
    context: EditContext,
    ledger: Ledger,
    tokenizer: Any,
    batch: Sequence[Edit],
    guard: FittedGuard | None = None,
) -> Trial:
    """Score a batch right after it was written. The model is left as it was.

    Args:
        value: What is tried.
        editor: Prepared.
        solved: The batch's targets, for an editor that solves for some.
        context: What the editor reads.
        ledger: Writes the trial and undoes it.
        tokenizer: For scoring.
        batch: The edits; paraphrases and neighbourhoods give a score.
        guard: Filters every update, if given.
    """
    if guard is None:
        guard = FittedGuard(NoGuard(), originals(ledger))
    with ledger.transaction():
        if solved is not None and isinstance(editor, TargetEditor):
            steps = editor.spread(solved, context)
        else:
            steps = editor.edit(batch, context)
        Engine(context, ledger, editor, guard).drive(steps)
        with products(context.runner.precision):
            metrics = score_edits(context.runner.model, tokenizer, batch).metrics()
        ledger.rewind()
    wanted = ("efficacy", "efficacy_exact", "paraphrase", "neighborhood")
    told = {name: metrics.get(name, float("nan")) for name in wanted}
    return Trial(value, **told, score=metrics.get("score", metrics["efficacy_exact"]))
