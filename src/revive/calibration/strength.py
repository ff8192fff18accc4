"""Calibrate the one setting that trades an editor's success for what is kept, on one fresh batch.

For the MEMIT family it is lambda, for others what stands in its place (`strength` of an editor's
options). The rule, stated so that it can be repeated: on the unedited model, solve the targets of
one batch once; for a value of a fixed grid, spread them, score a sample of the batch, undo. Every
third value is tried, then the neighbours of the best. Of the values at which the model answers with
the new target at least half as often as at the best of them, take the one with the highest score
(harmonic mean of efficacy, paraphrase and neighbourhood); among scores within 0.005 of the best,
the one that edits the least, because it changes the model least. This is how the literature tunes
lambda: on fresh edits, not on the stream.

Where the model answers at no value, or no score is above zero, scores tell nothing of strength: an
unedited model has one too. Then the value wins at which most tokens of the new targets are first
choices, and among equals the one that makes them likeliest.

The sample is drawn by a seed: at most 24 edits that have paraphrases and neighbours, with two and
three of these. An editor that solves for targets writes the whole batch; one that does not would
do all its work anew at every value, and writes the sample. Where the batch has fewer than eight
such edits, the package's trial edits stand in for it.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

from revive.calibration.trials import Calibration, CalibrationTrial, sample, solved_once, try_batch
from revive.data.edits import Edit
from revive.editors.base import EditContext, EditMethod
from revive.editors.target_editor import SolvedBatch
from revive.errors import NumericalError
from revive.models.ledger import Ledger

TIE = 0.005
_STRIDE = 3
_SHORT = 4  # a grid that is tried whole
_ABLE = 0.5


def choose(trials: Sequence[CalibrationTrial], tie: float = TIE) -> float:
    """The value that the rule above takes.

    Args:
        trials: From the strongest edits to the weakest.
        tie: Scores this close are equal.

    Raises:
        NumericalError: Every score is NaN.
    """
    scored = [t for t in trials if not math.isnan(t.score)]
    if not scored:
        raise NumericalError(
            "calibration: no value of the grid left a model that could be scored; set the "
            "editor's strength by hand."
        )
    most = max(t.efficacy_exact for t in scored)
    able = [t for t in scored if t.score > 0 and t.efficacy_exact >= _ABLE * most > 0]
    if not able:
        return max(scored, key=lambda t: (_known(t.efficacy_tokens), _known(t.probability))).value
    best = max(t.score for t in able)
    return [t.value for t in able if t.score >= best - tie][-1]


def calibrate_strength(
    editor: EditMethod[Any],
    context: EditContext,
    ledger: Ledger,
    tokenizer: Any,
    batch: Sequence[Edit],
    *,
    solved: SolvedBatch | None = None,
    grid: Sequence[float] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Calibration:
    """Run the rule above. The model is left as it was.

    Args:
        editor: The editor, with every option but its strength set.
        context: What it reads.
        ledger: Writes the trials and undoes them.
        tokenizer: For scoring.
        batch: Fresh edits with paraphrases and neighbourhoods.
        solved: Their targets, if they are solved already.
        grid: Values to try, from the strongest edits to the weakest; the editor's own if None.
        progress: Called with (trials done, trials in all).
    """
    options = editor.options
    values = options.grid if grid is None else grid
    solved = solved_once(editor, batch, context) if solved is None else solved
    scored = sample(batch)
    written = scored if solved is None else batch
    every = range(len(values))
    coarse = every if len(values) <= _SHORT else every[::_STRIDE]
    most = min(len(values), len(coarse) + 2)
    tried: dict[int, CalibrationTrial] = {}

    def attempt(indices: Sequence[int]) -> list[CalibrationTrial]:
        for index in indices:
            one = editor.with_options(options.model_copy(update={options.strength: values[index]}))
            one.prepare(context)
            tried[index] = _tried(
                values[index], one, solved, context, ledger, tokenizer, written, scored
            )
            if progress is not None:
                progress(len(tried), most)
        return [tried[index] for index in sorted(tried)]

    best = values.index(choose(attempt(coarse)))
    trials = attempt([i for i in (best - 1, best + 1) if i in every and i not in tried])
    if progress is not None and len(tried) < most:
        progress(most, most)
    return Calibration(choose(trials), tuple(trials), options.strength, len(scored))


def _tried(
    value: float,
    editor: EditMethod[Any],
    solved: SolvedBatch | None,
    context: EditContext,
    ledger: Ledger,
    tokenizer: Any,
    batch: Sequence[Edit],
    scored: Sequence[Edit],
) -> CalibrationTrial:
    """One trial; without a score where the value is so strong that an update is not finite."""
    try:
        return try_batch(value, editor, solved, context, ledger, tokenizer, batch, scored=scored)
    except NumericalError:
        return CalibrationTrial.broken(value)


def _known(value: float) -> float:
    return -1.0 if math.isnan(value) else value
