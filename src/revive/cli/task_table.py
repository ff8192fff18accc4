"""Results of tasks as tables on stdout."""

from collections.abc import Mapping, Sequence

from revive.cli.output import print_metrics, print_table
from revive.tasks.result import TaskResult

_HEAD = ("task", "items", "acc.", "95 %", "F1", "chance", "majority")
_SHOWN = ("_perplexity", "_readable")


def print_tasks(
    title: str,
    results: Sequence[TaskResult],
    others: Mapping[str, float],
    intervals: Mapping[str, tuple[float, float]],
) -> None:
    """One row a result, then what not all of them have; JSON holds the rest.

    Args:
        title: The model.
        results: What was found.
        others: Metrics that are no single task's.
        intervals: 95 % intervals of some of them.
    """
    print_table(f"{title}: tasks (F1 weighted)", _HEAD, [_row(result) for result in results])
    shown = {
        key: value
        for result in results
        for key, value in result.flat().items()
        if key.endswith(_SHOWN)
    }
    if {**shown, **others}:
        print_metrics(title, {**shown, **others}, intervals)


def _row(result: TaskResult) -> list[str]:
    low, high = result.intervals["accuracy"]
    return [
        result.task if result.rule == "likelihood" else f"{result.task}, generated",
        f"{result.count:,}" if result.count == result.total else f"{result.count}/{result.total}",
        f"{result.metrics['accuracy']:.3f}",
        f"{low:.2f}-{high:.2f}",
        f"{result.metrics['f1_weighted']:.3f}" if "f1_weighted" in result.metrics else "",
        f"{result.baselines['chance']:.3f}",
        f"{result.baselines['majority']:.3f}",
    ]
