"""One trial of a calibration: write solved targets, score the batch, undo."""

from collections.abc import Sequence
from typing import Any

from revive.data.edits import Edit
from revive.editors.base import EditContext
from revive.editors.memit import LeastSquaresEditor, SolvedBatch
from revive.guards.fitted import FittedGuard
from revive.models.ledger import Ledger
from revive.models.precision import products
from revive.probes.edits import score_edits


def try_batch(
    editor: LeastSquaresEditor,
    solved: SolvedBatch,
    context: EditContext,
    ledger: Ledger,
    tokenizer: Any,
    batch: Sequence[Edit],
    guard: FittedGuard | None = None,
) -> dict[str, float]:
    """Metrics of a batch right after it was written. The model is left as it was.

    Args:
        editor: Prepared.
        solved: The batch's targets.
        context: What the editor reads.
        ledger: Writes the trial and undoes it.
        tokenizer: For scoring.
        batch: The edits; paraphrases and neighbourhoods give a score.
        guard: Filters every update, if given.

    Returns:
        `efficacy`, `efficacy_exact`, `paraphrase`, `neighborhood` and `score`; NaN for what the
        edits do not hold. Without paraphrases or neighbours the score is `efficacy_exact`.
    """
    with ledger.transaction():
        steps = editor.spread(solved, context)
        answer: Any = None
        while True:
            try:
                proposed = steps.send(answer)
            except StopIteration:
                break
            key, update = proposed.site.parameter, proposed.factors
            if guard is not None:
                update = guard.filter_factors(update, key, weight=ledger.weight).update
            ledger.commit(key, update)
            # The least-squares editors read the model, not this answer.
            answer = proposed
        with products(context.runner.precision):
            metrics = score_edits(context.runner.model, tokenizer, batch).metrics()
        ledger.rewind()
    wanted = ("efficacy", "efficacy_exact", "paraphrase", "neighborhood")
    told = {name: metrics.get(name, float("nan")) for name in wanted}
    return {**told, "score": metrics.get("score", metrics["efficacy_exact"])}
