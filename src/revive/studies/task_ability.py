"""Public test sets as abilities that the studies watch."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from revive.models.loading import LoadedModel
from revive.scoring.harness import Harness
from revive.scoring.task_scorer import score_tasks
from revive.tasks.collect import Prepared, collect
from revive.tasks.result import digest, flat_metrics
from revive.tasks.suites import SIX, split


@dataclass(frozen=True)
class TaskAbility:
    """Tasks that were read, measured as often as wanted.

    Attributes:
        tasks: Ours; each gives `<task>_accuracy`, and the six sets together, where all are there,
            `six_f1_weighted`, the score that arXiv:2601.11042 averages.
        harness: Tasks of lm-evaluation-harness; of each, the metrics that are better when larger.
        names: Of the harness's tasks.
        limit: Most items of each task.
    """

    tasks: tuple[Prepared, ...]
    harness: Harness | None
    names: tuple[str, ...]
    limit: int | None

    SIX_F1: ClassVar[str] = "six_f1_weighted"

    @classmethod
    def read(
        cls,
        names: Sequence[str],
        data: Path | None,
        *,
        limit: int | None,
        include: Path | None = None,
    ) -> "TaskAbility":
        """Read the tasks' data, before any model is loaded.

        Args:
            names: Of `revive list tasks`, `six`, or `lm-eval:NAME`.
            data: Folder with the data of our tasks.
            limit: Most items of each task, always the same ones; None for all.
            include: Folder with configurations for the harness.

        Raises:
            SpecError: A task is unknown, or its data are missing or malformed.
            PrerequisiteError: A task of the harness is named, which is not installed.
        """
        own, foreign = split(names)
        harness = Harness(foreign, include=include, limit=limit) if foreign else None
        return cls(tuple(collect(own, data, limit=limit)), harness, tuple(foreign), limit)

    def measure(self, loaded: LoadedModel) -> dict[str, float]:
        """Scores of the model as it stands; shares, higher is better in all of them."""
        scored = flat_metrics(score_tasks(loaded.model, loaded.tokenizer, self.tasks))
        found = {name: scored[name] for name in self.resolution()}
        if self.harness is not None:
            for result in self.harness.run(loaded.model, loaded.tokenizer):
                metrics = result.flat()
                found.update({name: metrics[name] for name in result.upward()})
        return found

    def resolution(self) -> Mapping[str, float]:
        """How far two measurements of our tasks differ by chance, at most, 19 times of 20.

        An answer that carries nothing is right or wrong at random, each time anew: the difference
        of two accuracies over n items then has a standard deviation of at most sqrt(1 / (2 n)).
        """
        variance = {p.task.name: 0.5 / len(p.items) for p in self.tasks}
        found = {f"{name}_accuracy": _TWO_SIDED * math.sqrt(v) for name, v in variance.items()}
        if set(SIX) <= set(variance):
            six = sum(variance[name] for name in SIX)
            found[self.SIX_F1] = _TWO_SIDED * math.sqrt(six) / len(SIX)
        return found

    def describe(self) -> str:
        """What is measured, in a line; two that read alike measure alike."""
        own = [f"{p.task.name} v{p.task.version} {digest(p.items)}" for p in self.tasks]
        foreign = [f"lm-eval:{name} limit {self.limit}" for name in self.names]
        return "; ".join([*own, *foreign])


_TWO_SIDED = 1.96
