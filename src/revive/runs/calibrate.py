"""Calibrate lambda, the regulariser of the least squares, on one fresh batch.

The rule, stated so that it can be repeated: on the unedited model, solve the targets of one batch
once; for every lambda of a fixed grid, spread them, score the batch, undo. Take the lambda with
the highest score (harmonic mean of efficacy, paraphrase and neighbourhood); among scores within
0.005 of the best, the largest lambda, because it changes the model least. This is how the
literature tunes lambda: on fresh edits, not on the stream.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

from revive.data.edits import Edit
from revive.editors.base import EditContext
from revive.editors.memit import LeastSquaresEditor
from revive.errors import NumericalError
from revive.models.ledger import Ledger
from revive.runs.trials import Calibration, Trial, try_batch

GRID = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1_000.0, 3_000.0, 10_000.0, 30_000.0)
TIE = 0.005


def choose(trials: Sequence[Trial], tie: float = TIE) -> float:
    """The largest lambda whose score is within `tie` of the best.

    Raises:
        NumericalError: Every score is NaN.
    """
    scored = [t for t in trials if not math.isnan(t.score)]
    if not scored:
        raise NumericalError(
            "calibration: no lambda of the grid left a model that could be scored; set "
            "editor.ridge by hand."
        )
    best = max(t.score for t in scored)
    return max(t.value for t in scored if t.score >= best - tie)


def calibrate_ridge(
    editor: LeastSquaresEditor,
    context: EditContext,
    ledger: Ledger,
    tokenizer: Any,
    batch: Sequence[Edit],
    *,
    grid: Sequence[float] = GRID,
    progress: Callable[[int, int], None] | None = None,
) -> Calibration:
    """Run the rule above. The model is left as it was.

    Args:
        editor: The editor, with every option but `ridge` set.
        context: What it reads.
        ledger: Writes the trials and undoes them.
        tokenizer: For scoring.
        batch: Fresh edits with paraphrases and neighbourhoods.
        grid: Values of lambda to try.
        progress: Called with (trials done, trials in all).
    """
    solved = editor.solve_batch(batch, context)
    trials: list[Trial] = []
    for index, ridge in enumerate(grid):
        trial_editor = type(editor)(editor.options.model_copy(update={"ridge": ridge}))
        trial_editor.prepare(context)
        trials.append(try_batch(ridge, trial_editor, solved, context, ledger, tokenizer, batch))
        if progress is not None:
            progress(index + 1, len(grid))
    return Calibration(choose(trials), tuple(trials))
