"""Any task of lm-evaluation-harness on the live model: nothing is saved, nothing reloaded.

The harness is the extra `eval`. Seeds are those of its own command line, so that both give the
same numbers, and global random states are put back afterwards.
"""

import contextlib
import copy
import os
import random
import sys
from collections.abc import Generator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from revive.errors import PrerequisiteError, SpecError
from revive.registry import did_you_mean

_BATCH = 16
_RESAMPLES = 1000
_SERIAL = "DISABLE_MULTIPROC"  # the harness would fork a process with a model in it to resample


@dataclass(frozen=True)
class HarnessResult:
    """What the harness reports of one task or group.

    Attributes:
        task: Its name.
        version: As its configuration says; empty if it does not.
        count: Items scored; 0 for a group.
        total: Items there are; 0 for a group.
        metrics: By the harness's names: `acc`, `acc_stderr`, ...
        better: Those of them that the task says are better when larger.
    """

    task: str
    version: str
    count: int
    total: int
    metrics: Mapping[str, float]
    better: tuple[str, ...] = ()

    def plain(self) -> dict[str, Any]:
        """As plain data for JSON."""
        return asdict(self)

    def flat(self) -> dict[str, float]:
        """Metrics under names of their own: `lm_eval_hellaswag_acc`."""
        return {self._own(name): value for name, value in self.metrics.items()}

    def upward(self) -> list[str]:
        """Names, as in `flat`, of the metrics that are better when larger."""
        return [self._own(name) for name in self.better]

    def _own(self, metric: str) -> str:
        return f"lm_eval_{self.task}_{metric}"


class Harness:
    """Tasks of the harness, looked up once and scored as often as wanted."""

    def __init__(
        self, tasks: Sequence[str], *, include: Path | None = None, limit: int | None = None
    ) -> None:
        """Look the tasks up.

        Args:
            tasks: Names of tasks, groups or tags of the harness.
            include: Folder with task configurations of one's own.
            limit: Only the first items of each task, as the harness's own `--limit`.

        Raises:
            PrerequisiteError: The harness is not installed.
            SpecError: A task is unknown, or the folder is none.
        """
        if include is not None and not include.is_dir():
            raise SpecError(f"{include}: no such folder; name the one with the configurations.")
        self._tasks = list(tasks)
        self._limit = limit
        self._manager = _manager(self._tasks, include)

    def run(self, model: Any, tokenizer: Any, *, batch_size: int = _BATCH) -> list[HarnessResult]:
        """Score the tasks.

        Args:
            model: Causal language model as it stands; its training mode is left as found.
            tokenizer: Its tokenizer; not changed.
            batch_size: Texts per forward pass.

        Raises:
            PrerequisiteError: Data cannot be had.
        """
        evaluator, _, wrapper = _imported()
        training = model.training
        try:
            # The harness prints, and stdout is for results.
            with _random_states_kept(), contextlib.redirect_stdout(sys.stderr), _serial():
                live = wrapper(
                    pretrained=model, tokenizer=copy.deepcopy(tokenizer), batch_size=batch_size
                )
                found = evaluator.simple_evaluate(
                    model=live,
                    tasks=self._tasks,
                    task_manager=self._manager,
                    limit=self._limit,
                    bootstrap_iters=_RESAMPLES,
                    log_samples=False,
                )
        except (ConnectionError, FileNotFoundError) as error:
            raise PrerequisiteError(
                f"lm-eval: data of {', '.join(self._tasks)} cannot be had ({_line(error)}). "
                "Connect to the hub once, or describe local files in a configuration and name its "
                "folder."
            ) from error
        finally:
            model.train(training)
        return _results(found)


def _manager(tasks: Sequence[str], include: Path | None) -> Any:
    """What the harness looks tasks up in.

    Its own configurations, more than ten thousand files, are only read where the folder's do not
    do: a group or tag may name one of them.
    """
    _, manager_class, _ = _imported()
    if include is not None:
        own = manager_class(include_path=str(include), include_defaults=False)
        if set(tasks) <= set(own.all_subtasks):
            return own
    manager = manager_class(include_path=None if include is None else str(include))
    _known(tasks, manager.all_tasks)
    return manager


def _imported() -> tuple[Any, Any, Any]:
    try:
        from lm_eval import evaluator  # pyright: ignore[reportMissingImports]
        from lm_eval.models.huggingface import HFLM  # pyright: ignore[reportMissingImports]
        from lm_eval.tasks import TaskManager  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise PrerequisiteError(
            f"Tasks of lm-eval need lm-evaluation-harness ({_line(error)}); "
            "pip install 'revive-edit[eval]'."
        ) from error
    return evaluator, TaskManager, HFLM


def _known(tasks: Sequence[str], known: Sequence[str]) -> None:
    for name in tasks:
        if name not in known:
            raise SpecError(
                f"lm-eval has no task {name!r} among its {len(known)}.{did_you_mean(name, known)} "
                "A configuration of your own is found in the folder named by --include."
            )


def _results(found: Mapping[str, Any]) -> list[HarnessResult]:
    every = {**found["results"], **found.get("groups", {})}
    return [_result(name, values, found) for name, values in every.items()]


def _result(task: str, values: Mapping[str, Any], found: Mapping[str, Any]) -> HarnessResult:
    counts = found.get("n-samples", {}).get(task, {})
    metrics: dict[str, float] = {}
    upward = found.get("higher_is_better", {}).get(task, {})
    better: list[str] = []
    for key, value in values.items():
        # `acc,none` is the metric and the filter of answers; `none` is the usual one.
        metric, comma, filtered = key.partition(",")
        if comma and isinstance(value, int | float):
            name = metric if filtered == "none" else f"{metric}_{filtered}"
            metrics[name] = float(value)
            if upward.get(metric):
                better.append(name)
    return HarnessResult(
        task=task,
        version=str(found.get("versions", {}).get(task, "")),
        count=int(counts.get("effective", 0)),
        total=int(counts.get("original", 0)),
        metrics=metrics,
        better=tuple(better),
    )


@contextlib.contextmanager
def _random_states_kept() -> Generator[None, None, None]:
    plain, numeric = random.getstate(), np.random.get_state()
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices=devices):
        try:
            yield
        finally:
            random.setstate(plain)
            np.random.set_state(numeric)


@contextlib.contextmanager
def _serial() -> Generator[None, None, None]:
    before = os.environ.get(_SERIAL)
    os.environ[_SERIAL] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_SERIAL]
        else:
            os.environ[_SERIAL] = before


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]
