"""What a model can do, as the numbers that the studies watch: higher is better in all of them."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from revive.errors import SpecError
from revive.lab.facts import relations, state
from revive.models.forward.precision import products
from revive.models.loading import LoadedModel
from revive.paths import read_text
from revive.probes import lab_battery
from revive.scoring.score import perplexity, score_targets
from revive.studies.task_ability import TaskAbility

Ability = Callable[[], Mapping[str, float]]
"""Measures the model as it stands. Must be deterministic and change nothing."""

PROSE, FACTS, RECALL, GENERAL = "log_likelihood", "fact_log_likelihood", "fact_recall", "general"
_NATS = "nats per token"


@dataclass(frozen=True)
class AbilityItems:
    """How much is measured at every point.

    Attributes:
        words: Of the held-out prose whose likelihood is measured.
        facts: Facts whose recall and likelihood are measured.
        pairs: Minimal pairs of the lab battery; 0 leaves the battery out.
        copies: Copying pairs of the battery.
    """

    words: int
    facts: int
    pairs: int = 0
    copies: int = 0

    def describe(self, texts: Sequence[Path]) -> str:
        """What is measured, in a line; two that read alike measure alike."""
        return f"{self} {[(path.name, path.stat().st_size) for path in texts]}"


LIKELIHOODS = AbilityItems(words=300, facts=40)
QUICK = AbilityItems(words=800, facts=60, pairs=60, copies=40)
THOROUGH = AbilityItems(words=10_000, facts=150, pairs=150, copies=100)


def model_ability(
    loaded: LoadedModel,
    texts: Sequence[Path] = (),
    items: AbilityItems = QUICK,
    tasks: TaskAbility | None = None,
) -> Ability:
    """Likelihood of held-out prose and of facts, recall, the lab battery, and public test sets.

    Args:
        loaded: The model; measured again at every call.
        texts: Files of plain text, each a measure of its own.
        items: How much is measured.
        tasks: Public test sets.

    Returns:
        A callable that gives, of the lab's texts, `log_likelihood` of prose and
        `fact_log_likelihood` of facts' objects, in nats per token, `fact_recall` as a share;
        `general` (0 is guessing, 1 perfect) where the battery is not left out;
        `log_likelihood_<file>` of each text; and what `TaskAbility` says.

    Raises:
        SpecError: A text cannot be read, or two have the same name.
    """
    read = {f"{PROSE}_{path.stem}": _read(path) for path in texts}
    if len(read) < len(texts):
        raise SpecError("--text: two files have the same name, and so would their measures.")
    read = {PROSE: lab_battery.prose(items.words), **read}
    facts = lab_battery.kept_facts(items.facts, 0)
    prompts = [state(relations()[fact.relation].templates[0], fact.subject) for fact in facts]
    objects = [fact.object for fact in facts]

    @products("fast")
    def measure() -> dict[str, float]:
        # Windows side by side, none overlapping: half the tokens of a sliding window.
        values = {
            name: -math.log(
                perplexity(
                    loaded.model,
                    loaded.tokenizer,
                    text,
                    window=lab_battery.WINDOW,
                    stride=lab_battery.WINDOW - 1,
                )
            )
            for name, text in read.items()
        }
        scores = score_targets(loaded.model, loaded.tokenizer, prompts, objects)
        values[FACTS] = -float(scores.nll.double().mean())
        values[RECALL] = float(scores.exact.double().mean())
        if items.pairs:
            found = lab_battery.skills(
                loaded.model,
                loaded.tokenizer,
                facts=items.facts,
                pairs=items.pairs,
                copies=items.copies,
            )
            values[GENERAL] = found[GENERAL]
        if tasks is not None:
            values.update(tasks.measure(loaded))
        return values

    return measure


def unit(measure: str) -> str:
    """Unit of a measure, for an axis."""
    return _NATS if PROSE in measure else "share"


def _read(path: Path) -> str:
    text = read_text(path, "--text")
    if not text.strip():
        raise SpecError(f"--text: {path} holds no text.")
    return text
