"""What was found of one task. No torch."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from revive.tasks.item import Item
from revive.tasks.metrics import Interval
from revive.tasks.suites import SIX
from revive.tasks.task import Rule


@dataclass(frozen=True)
class TaskResult:
    """Scores of one task under one rule.

    Attributes:
        task: Its name.
        version: Of its prompts and scoring.
        rule: How answers were taken.
        count: Items scored.
        total: Items that the data hold.
        metrics: `accuracy`, the headline one; under the likelihood rule `accuracy_sum` and
            `accuracy_per_character` (which is which the task says); `f1_weighted` and `f1_macro`
            where items share their classes; `perplexity` per word for the last-word task;
            `group_mean`, the mean of the groups' accuracies, where there are groups;
            `readable`, the share of generated texts that hold an answer.
        intervals: 95 % intervals: Wilson of accuracies, bootstrap of the rest.
        baselines: `chance`, the mean accuracy of guessing; `majority`, that of always giving the
            most frequent answer, and `majority_f1_weighted`, `majority_f1_macro` of the same.
        groups: Accuracy by subject or paradigm, by name.
        items: Digest of the items. Results of different items are not comparable.
    """

    task: str
    version: int
    rule: Rule
    count: int
    total: int
    metrics: Mapping[str, float]
    intervals: Mapping[str, Interval]
    baselines: Mapping[str, float]
    groups: Mapping[str, float]
    items: str

    def plain(self) -> dict[str, Any]:
        """As plain data for JSON."""
        return asdict(self)

    def flat(self) -> dict[str, float]:
        """Metrics under names of their own: `sst2_accuracy`, `sst2_generated_accuracy`."""
        prefix = f"{self.task}_generated" if self.rule == "generation" else self.task
        return {f"{prefix}_{name}": value for name, value in self.metrics.items()}


def digest(items: Sequence[Item]) -> str:
    """Digest of what is asked and what is right, in its order."""
    found = hashlib.sha256()
    for item in items:
        fields = {key: value for key, value in asdict(item).items() if key != "where"}
        found.update(json.dumps(fields).encode() + b"\n")
    return found.hexdigest()[:16]


def flat_metrics(results: Sequence[TaskResult]) -> dict[str, float]:
    """Metrics of several tasks, and the mean weighted F1 of the six sets where all are there."""
    metrics: dict[str, float] = {}
    for result in results:
        metrics.update(result.flat())
    for middle in ("", "generated_"):
        scores = [metrics.get(f"{task}_{middle}f1_weighted") for task in SIX]
        known = [score for score in scores if score is not None]
        if len(known) == len(SIX):
            metrics[f"six_{middle}f1_weighted"] = sum(known) / len(SIX)
    return metrics
