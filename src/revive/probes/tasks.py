"""Public test sets and tasks of lm-evaluation-harness, inside a run."""

from collections.abc import Sequence
from typing import ClassVar, Literal, final

from revive.paths import at_home
from revive.probes.base import Measurement, Probe, ProbeContext
from revive.scoring.harness import Harness
from revive.scoring.task_scorer import score_tasks
from revive.tasks.collect import collect
from revive.tasks.result import flat_metrics
from revive.tasks.suites import split


@final
class TasksProbe(Probe):
    """General ability on public test sets, read once, before the first edit."""

    name: ClassVar[str] = "tasks"
    summary: ClassVar[str] = "public test sets: SST-2, MMLU, LAMBADA, BLiMP, ..., lm-eval's"

    def __init__(
        self,
        tasks: Sequence[str],
        data: str | None = None,
        limit: int | None = 200,
        rule: Literal["likelihood", "generation", "both"] | None = None,
        seed: int = 0,
        include: str | None = None,
    ) -> None:
        """Read the tasks' data.

        Args:
            tasks: Of `revive list tasks`; `six` for the six sets; `lm-eval:NAME` for a task of
                the harness.
            data: Folder with the data of our tasks.
            limit: Most items of each task.
            rule: How answers are taken; None for each task's own rule.
            seed: Which items: the same ones at every measurement.
            include: Folder with configurations for the harness.

        Raises:
            SpecError: A task is unknown, or its data are missing or malformed.
            PrerequisiteError: A task of the harness is named, which is not installed.
        """
        own, foreign = split(tasks)
        self._tasks = collect(
            own,
            None if data is None else at_home(data),
            limit=limit,
            seed=seed,
            rule=None if rule == "both" else rule,
            both=rule == "both",
        )
        folder = None if include is None else at_home(include)
        self._harness = Harness(foreign, include=folder, limit=limit) if foreign else None

    def measure(self, context: ProbeContext) -> Measurement:
        """Score every task with the current model."""
        metrics = flat_metrics(score_tasks(context.model, context.tokenizer, self._tasks))
        if self._harness is not None:
            for result in self._harness.run(context.model, context.tokenizer):
                metrics.update(result.flat())
        return Measurement(metrics)
