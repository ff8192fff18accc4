"""Results of tasks as a table on stdout."""

from collections.abc import Sequence

from revive.cli.output import print_table
from revive.tasks.result import TaskResult

_HEAD = ("task", "rule", "items", "accuracy", "95 %", "F1 weighted", "chance", "majority", "more")


def print_tasks(title: str, results: Sequence[TaskResult]) -> None:
    """One row a result; what only some tasks have stands in the last column."""
    print_table(title, _HEAD, [_row(result) for result in results])


def _row(result: TaskResult) -> list[str]:
    low, high = result.intervals["accuracy"]
    part = f"{result.count:,}"
    return [
        f"{result.task} v{result.version}",
        result.rule,
        part if result.count == result.total else f"{part} of {result.total:,}",
        f"{result.metrics['accuracy']:.3f}",
        f"{low:.3f}-{high:.3f}",
        _share(result, "f1_weighted"),
        f"{result.baselines['chance']:.3f}",
        f"{result.baselines['majority']:.3f}",
        _more(result),
    ]


def _share(result: TaskResult, name: str) -> str:
    return f"{result.metrics[name]:.3f}" if name in result.metrics else ""


def _more(result: TaskResult) -> str:
    parts: list[str] = []
    for name, words in (("perplexity", "perplexity {:.4g}"), ("readable", "{:.0%} readable")):
        if name in result.metrics:
            parts.append(words.format(result.metrics[name]))
    other = [
        result.metrics[name]
        for name in ("accuracy_sum", "accuracy_per_character")
        if name in result.metrics
    ]
    if len(set(other)) > 1:
        parts.append("by sum {:.3f}, per character {:.3f}".format(*other))
    if result.groups:
        worst = min(result.groups, key=lambda name: result.groups[name])
        parts.append(f"{len(result.groups)} groups, worst {worst} {result.groups[worst]:.2f}")
    return ", ".join(parts)
