"""The one that feeds sinks: what the journal holds, then every event as it is written.

A sink that fails is told of once and left out; a run never stops because of one.
"""

import logging
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, redirect_stdout

from revive import registry
from revive.run_folder.journal import Event, Journal
from revive.run_folder.store import RunFolder
from revive.sinks.base import Sink, SinkRun
from revive.sinks.points import Points
from revive.spec.resolve import sink_settings
from revive.spec.schema import RunSpec, SinkSpec

_LOG = logging.getLogger(__name__)


def make_sinks(specs: Sequence[SinkSpec]) -> list[Sink]:
    """The sinks a spec names, each with what it needs.

    Raises:
        PrerequisiteError: A package is missing; says which extra brings it.
    """
    made: list[Sink] = []
    for spec in specs:
        found: type[Sink] = registry.load("sinks", spec.name)
        found.require()
        made.append(found(**sink_settings(spec)))
    return made


@contextmanager
def dispatching(
    sinks: Sequence[Sink], spec: RunSpec, folder: RunFolder, journal: Journal
) -> Generator[None, None, None]:
    """Tell sinks what a journal holds and, for the time of the block, what is appended to it."""
    if not sinks:
        yield
        return
    feed = _Feed(sinks)
    feed.open(spec, folder, journal)
    try:
        yield
    finally:
        feed.close()


class _Feed:
    """Sinks of one run, fed from its journal."""

    def __init__(self, sinks: Sequence[Sink]) -> None:
        self._sinks = list(sinks)
        self._points = Points()

    def open(self, spec: RunSpec, folder: RunFolder, journal: Journal) -> None:
        """Tell the sinks what the journal holds, and from now on what is appended to it."""
        run = SinkRun(folder.path.name, folder.path, spec.model_dump())
        past = self._points.past(journal.events())
        self._each(lambda sink: sink.open(run, past))
        journal.listen(self._receive)

    def close(self) -> None:
        """Let them finish."""
        self._each(lambda sink: sink.close())
        self._sinks.clear()

    def _receive(self, event: Event) -> None:
        point = self._points.point(event)
        self._each(lambda sink: sink.receive(point))

    def _each(self, call: Callable[[Sink], None]) -> None:
        for sink in tuple(self._sinks):
            try:
                # Services like to greet on stdout, where only results belong.
                with redirect_stdout(sys.stderr):
                    call(sink)
            except Exception as error:
                self._sinks.remove(sink)
                reason = " ".join(str(error).split()) or type(error).__name__
                _LOG.warning(
                    "sink %s failed and is left out from here on (%s); the run goes on, its "
                    "journal holds everything.",
                    sink.name,
                    reason,
                )
