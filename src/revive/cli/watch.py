"""An observer of a run that feeds the live progress display."""

from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext

from revive.cli.output import say
from revive.cli.progress import RunProgress
from revive.progress import hushed, progress_on_stderr
from revive.runs.observers import Observer

__all__ = ["ProgressObserver", "hushed", "watch"]


class ProgressObserver(Observer):
    """Shows a single run: first what is prepared for it, then its edits."""

    def __init__(self, label: str, quiet: bool) -> None:
        self._label = label
        self._quiet = quiet
        self._progress: RunProgress | None = None
        self._preparing = ExitStack()
        self._prepared = self._preparing.enter_context(progress_on_stderr(quiet=quiet))

    def started(self, done: int, total: int) -> None:
        """Open the display of edits; what was prepared is done with."""
        self._preparing.close()
        self._progress = RunProgress([self._label], total, quiet=self._quiet)
        self._progress.__enter__()
        self._progress.update(self._label, edits=done)

    def phase(self, name: str, done: int, total: int) -> None:
        """Show what is being computed."""
        text = name if total <= 0 else f"{name} {done}/{total}"
        if self._progress is not None:
            self._progress.update(self._label, phase=text)
        elif total > 0:
            self._prepared(name, done, total)

    def batch(self, edits: int) -> None:
        """Move the bar."""
        if self._progress is not None:
            self._progress.update(self._label, edits=edits)

    def measured(self, edits: int, metrics: Mapping[str, float]) -> None:
        """Show the latest measurement; the unedited model's is not the stream's."""
        if self._progress is not None:
            self._progress.measured(self._label, metrics, edited=edits > 0)

    def alarm(self, message: str) -> None:
        """Say it: a warning is heard even where progress is not wanted."""
        say(message)

    def say(self, message: str) -> None:
        """Say it, unless nothing is wanted but the result."""
        say(message, quiet=self._quiet)

    def close(self) -> None:
        """Close the display."""
        self._preparing.close()
        if self._progress is not None:
            self._progress.finish(self._label)
            self._progress.__exit__(None, None, None)
            self._progress = None


@contextmanager
def watch(label: str, quiet: bool) -> Generator[ProgressObserver, None, None]:
    """A progress observer that is closed whatever happens; quiet goes for transformers too."""
    observer = ProgressObserver(label, quiet)
    with hushed() if quiet else nullcontext():
        try:
            yield observer
        finally:
            observer.close()
