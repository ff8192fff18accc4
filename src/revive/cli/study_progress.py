"""Progress of studies: a bar with time left on a terminal, a plain line now and then elsewhere."""

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from revive.cli.output import say

_PLAIN_EVERY = 10.0
"""Seconds between two plain lines."""


@contextmanager
def study_progress(*, quiet: bool) -> Generator[Callable[[str, int, int], None], None, None]:
    """A callback that is told a phase, steps done, and steps in all; it prints to stderr."""
    console = Console(stderr=True)
    if quiet:
        yield lambda _phase, _done, _total: None
    elif console.is_terminal:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=console) as progress:
            tasks = {}

            def show(phase: str, done: int, total: int) -> None:
                if phase not in tasks:
                    tasks[phase] = progress.add_task(phase, total=total)
                progress.update(tasks[phase], completed=done, total=total)

            yield show
    else:
        yield _plain()


def _plain() -> Callable[[str, int, int], None]:
    started: dict[str, tuple[float, int]] = {}
    printed: dict[str, float] = {}
    finished: set[str] = set()

    def tell(phase: str, done: int, total: int) -> None:
        now = time.monotonic()
        since, first = started.setdefault(phase, (now, done))
        if phase in finished or (done < total and now - printed.get(phase, since) < _PLAIN_EVERY):
            return
        if done >= total:
            finished.add(phase)
        printed[phase] = now
        left = ""
        if done > first and done < total:
            seconds = (now - since) / (done - first) * (total - done)
            left = f", {seconds / 60:.1f} min left"
        say(f"{phase}: {done:,}/{total:,}{left}")

    return tell
