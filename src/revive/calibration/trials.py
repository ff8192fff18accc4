"""One trial of a calibration: write solved targets, score the batch, undo."""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from typing import Any

from revive.data.edits import Edit
from revive.data.prompts import Prompts
from revive.data.readers import load_edits
from revive.editors.base import EditContext, EditMethod
from revive.editors.target_editor import SolvedBatch, TargetEditor
from revive.engine.engine import Engine
from revive.engine.originals import originals
from revive.guards.controls import NoGuard
from revive.guards.fitted import FittedGuard
from revive.models.forward.precision import products
from revive.models.ledger import Ledger
from revive.probes.edits import score_edits
from revive.scoring.score import score_targets

SAMPLE, PARAPHRASES, NEIGHBORS = 24, 2, 3
"""Most edits of a batch that are scored, and most paraphrases and neighbours of each."""

LEAST = 8
"""Fewest edits with paraphrases and neighbours that a strength is chosen on."""

_NAN = float("nan")


@dataclass(frozen=True, slots=True)
class CalibrationTrial:
    """One value of what is calibrated, and what it did to the fresh batch.

    Metrics are NaN for what the edits do not hold; without paraphrases or neighbours the score is
    `efficacy_exact`. `efficacy_tokens` is the share of the new target's tokens that are first
    choices, `probability` the mean probability of a token of it.
    """

    value: float
    efficacy: float
    efficacy_exact: float
    paraphrase: float
    neighborhood: float
    score: float
    efficacy_tokens: float = _NAN
    probability: float = _NAN

    @classmethod
    def broken(cls, value: float) -> "CalibrationTrial":
        """A value whose update is not finite."""
        return cls(value, *([_NAN] * 5))


@dataclass(frozen=True)
class Calibration:
    """The chosen value and every trial.

    Attributes:
        value: What is taken.
        trials: In the order of the grid.
        setting: Which setting it is a value of.
        edits: How many edits were scored.
        of_package: Whether they are the package's, not the fresh batch's.
    """

    value: float
    trials: tuple[CalibrationTrial, ...]
    setting: str = ""
    edits: int = 0
    of_package: bool = False

    @property
    def answered(self) -> float:
        """Share of the edits that the model answers with the new target at the chosen value."""
        return next(t.efficacy_exact for t in self.trials if t.value == self.value)

    @property
    def enough(self) -> bool:
        """Whether the chosen value serves."""
        return self.answered >= ENOUGH

    def told(self) -> str:
        """In a sentence or two."""
        whose = "the first batch"
        if self.of_package:
            whose = (
                f"the package (fewer than {LEAST} of the first batch have paraphrases and "
                "neighbours)"
            )
        count = round(self.answered * self.edits)
        text = (
            f"{self.setting} {self.value:g}, chosen on {self.edits} edits of {whose}: {count} of "
            f"{self.edits} answer with the new target."
        )
        if self.enough:
            return text
        found = "That is too few: expect edits that do not take."
        if not any(t.efficacy_exact > 0 for t in self.trials):
            found = "No strength that was tried made it work: expect that no edit takes."
        return (
            f"{text} {found} Other blocks (editor.layers) or another editor may serve this model "
            "better; 'revive doctor MODEL' says what is wrong with it."
        )


ENOUGH = 0.5
"""Share of the calibration's edits that must answer; below it a person is warned."""


def trial_edits() -> tuple[Edit, ...]:
    """The package's edits that settings are tried on."""
    return load_edits(str(files("revive.data") / "trial_edits.jsonl"), format="jsonl").edits


def suffices(batch: Sequence[Edit]) -> bool:
    """Whether enough edits have the prompts that a score is made of."""
    return sum(_whole(edit) for edit in batch) >= LEAST


def sample(batch: Sequence[Edit], seed: int = 0) -> tuple[Edit, ...]:
    """The edits of a batch that a trial scores: always the same ones, in their order.

    Args:
        batch: A fresh batch; edits without paraphrases or neighbours are left out where there are
            enough others.
        seed: Of the draw.
    """
    pool = [edit for edit in batch if _whole(edit)] if suffices(batch) else list(batch)
    drawn = random.Random(seed).sample(range(len(pool)), min(SAMPLE, len(pool)))
    return tuple(
        replace(
            pool[i],
            paraphrases=pool[i].paraphrases[:PARAPHRASES],
            neighborhood=pool[i].neighborhood[:NEIGHBORS],
            attribute_prompts=(),
            portability=(),
            multi_hop=(),
        )
        for i in sorted(drawn)
    )


def _whole(edit: Edit) -> bool:
    return bool(edit.target_true and edit.paraphrases and edit.neighborhood)


def solved_once(
    editor: EditMethod[Any], batch: Sequence[Edit], context: EditContext
) -> SolvedBatch | None:
    """The targets that all trials of a calibration share; None for an editor without targets."""
    return editor.solve_batch(batch, context) if isinstance(editor, TargetEditor) else None


def try_batch(
    value: float,
    editor: EditMethod[Any],
    solved: SolvedBatch | None,
    context: EditContext,
    ledger: Ledger,
    tokenizer: Any,
    batch: Sequence[Edit],
    guard: FittedGuard | None = None,
    scored: Sequence[Edit] | None = None,
) -> CalibrationTrial:
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
        scored: The part of the batch that is scored; all of it if None.
    """
    if guard is None:
        guard = FittedGuard(NoGuard(), originals(ledger))
    asked = batch if scored is None else scored
    read = Prompts(tokenizer).of
    with ledger.transaction():
        if solved is not None and isinstance(editor, TargetEditor):
            steps = editor.spread(solved, context)
        else:
            steps = editor.edit(batch, context)
        Engine(context, ledger, editor, guard).drive(steps)
        with products(context.runner.precision):
            model = context.runner.model
            metrics = score_edits(model, tokenizer, asked).metrics()
            targets = [edit.target_new for edit in asked]
            nll = score_targets(model, tokenizer, [read(e) for e in asked], targets).nll
        ledger.rewind()
    wanted = ("efficacy", "efficacy_exact", "paraphrase", "neighborhood", "efficacy_tokens")
    told = {name: metrics.get(name, _NAN) for name in wanted}
    score = metrics.get("score", metrics["efficacy_exact"])
    probability = sum(math.exp(-x) for x in nll.tolist()) / len(asked)
    return CalibrationTrial(value, **told, score=score, probability=probability)
