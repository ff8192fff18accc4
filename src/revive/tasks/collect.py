"""Find the data of tasks and read them, before any model is loaded. No torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from revive import registry
from revive.errors import SpecError
from revive.tasks.item import Item
from revive.tasks.selection import choose
from revive.tasks.suites import SUITES
from revive.tasks.task import Rule, Task


@dataclass(frozen=True)
class Prepared:
    """A task that is ready to be scored.

    Attributes:
        task: The task.
        rules: How answers are taken, each a result of its own.
        items: The items to score.
        total: How many the data hold.
    """

    task: Task
    rules: tuple[Rule, ...]
    items: tuple[Item, ...]
    total: int


def expand(names: Sequence[str]) -> list[str]:
    """Names with suites written out, each once.

    Raises:
        SpecError: A name is unknown.
    """
    found: list[str] = []
    for name in names:
        if name not in SUITES:
            registry.require("tasks", name)
        found += [n for n in SUITES.get(name, (name,)) if n not in found]
    return found


def load_task(name: str) -> Task:
    """The task of a name.

    Raises:
        SpecError: It is unknown.
        PrerequisiteError: The package that brings it cannot be imported.
    """
    return cast(Task, registry.load("tasks", name))


def locate(names: Sequence[str], data: Path | None) -> list[tuple[Task, Path]]:
    """Where the data of the named tasks are; nothing is read.

    Args:
        names: Tasks or suites.
        data: Folder with the data, or the one file of a single task.

    Raises:
        SpecError: A name is unknown, or data are missing.
    """
    tasks = [load_task(name) for name in expand(names)]
    if data is not None and not data.exists():
        raise SpecError(f"{data}: no such file or folder; name where the tasks' data are.")
    if data is not None and data.is_file() and len(tasks) > 1:
        raise SpecError(f"{data}: one file cannot hold {len(tasks)} tasks; name a folder.")
    return [(task, _found(task, data)) for task in tasks]


def collect(
    names: Sequence[str],
    data: Path | None,
    *,
    limit: int | None = None,
    seed: int = 0,
    rule: Rule | None = None,
    both: bool = False,
) -> list[Prepared]:
    """Read the named tasks.

    Args:
        names: Tasks or suites.
        data: Folder with the data, or the one file of a single task.
        limit: Most items of each task; None for all.
        seed: Which items, where not all are taken.
        rule: How answers are taken; a task that cannot be scored so keeps to its own rule.
            None for each task's default.
        both: Score by every rule that a task has.

    Raises:
        SpecError: A name is unknown, data are missing, or an item is malformed.
    """
    return [_prepared(task, path, limit, seed, rule, both) for task, path in locate(names, data)]


def collect_all(
    data: Path,
    *,
    limit: int | None = None,
    seed: int = 0,
    rule: Rule | None = None,
    both: bool = False,
) -> tuple[list[Prepared], list[str]]:
    """Read every task that has data in a folder; without a limit each task's own sample.

    Returns:
        The tasks, and one line for each that has no data.

    Raises:
        SpecError: The folder is none, or an item is malformed.
    """
    if not data.is_dir():
        raise SpecError(f"{data}: no such folder; name the one that holds the tasks' data.")
    found: list[Prepared] = []
    missing: list[str] = []
    for name in registry.names("tasks"):
        task = load_task(name)
        path = task.find(data)
        if path is None:
            missing.append(task.missing(data))
        else:
            found.append(_prepared(task, path, limit or task.sample, seed, rule, both))
    return found, missing


def _found(task: Task, data: Path | None) -> Path:
    path = None if data is None else task.find(data)
    if path is None:
        raise SpecError(task.missing(data))
    return path


def _prepared(
    task: Task, path: Path, limit: int | None, seed: int, rule: Rule | None, both: bool
) -> Prepared:
    items = task.read(path)
    rules = task.rules if both else task.rules[:1]
    if rule is not None and rule in task.rules:
        rules = (rule,)
    return Prepared(task, rules, tuple(choose(items, limit, seed)), len(items))
