"""Progress of long work: a bar with time left on a terminal, else a plain line now and then."""

import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

Told = Callable[[str, int, int], None]
"""Called with a phase, steps done, and steps in all."""

_PLAIN_EVERY = 60.0
"""Seconds between two plain lines."""


@contextmanager
def progress_on_stderr(
    *, quiet: bool = False, patience: float = 0.0
) -> Generator[Told, None, None]:
    """A callback that prints what it is told.

    Args:
        quiet: Print nothing.
        patience: Seconds that a phase takes before anything is said of it.
    """
    console = Console(stderr=True)
    if quiet:
        yield lambda _phase, _done, _total: None
    elif console.is_terminal:
        columns = (
            TextColumn("{task.description}", markup=False),
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

            yield _patient(show, patience)
    else:
        yield _patient(_plain(), patience)


@contextmanager
def hushed() -> Generator[None, None, None]:
    """No bars and no remarks of transformers while models are loaded and saved."""
    from transformers.utils import logging

    bars, verbosity = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def _patient(tell: Told, seconds: float) -> Told:
    started: dict[str, float] = {}

    def told(phase: str, done: int, total: int) -> None:
        now = time.monotonic()
        if now - started.setdefault(phase, now) >= seconds:
            tell(phase, done, total)

    return told


def _plain() -> Told:
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
        sys.stderr.write(f"{phase}: {done:,}/{total:,}{left}\n")

    return tell
