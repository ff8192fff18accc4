"""One attempt at a run on a Ray cluster, as the sweep sees it. Imports neither ray nor torch."""

from collections.abc import Generator
from pathlib import Path
from typing import Any

from revive.errors import PrerequisiteError
from revive.io.atomic import write_bytes
from revive.sweeps.executor import Ended
from revive.sweeps.ray.folder_sync import Sender, receive
from revive.sweeps.ray.ray_worker import News, Order, Ready

_LOST = -9
_STOP_SECONDS = 15.0

_Steps = Generator[Any, Any, Ended]
"""Yields what it waits for, and is sent what came."""


class RayAttempt:
    """An actor with a process. Nothing here waits for it, except `wait`."""

    def __init__(self, ray: Any, actor: Any, order: Order) -> None:
        """Follow an actor that was asked for."""
        self.begun = False
        self._ray = ray
        self._actor = actor
        self._order = order
        self._out = Path(order.out)
        self._place = self._out / order.name
        self._steps: _Steps = self._work()
        self._awaited: Any = None
        self._stopping: Any = None

    def poll(self) -> Ended | None:
        """How it ended; None while it goes on, or waits for a node."""
        ended = self._poll()
        if ended is not None:
            self._end()
        return ended

    def stop(self) -> None:
        """Ask it to end."""
        if self.begun:
            self._stopping = self._actor.stop.remote()

    def wait(self) -> None:
        """Until it has ended, and what it had committed has arrived."""
        try:
            if self._stopping is not None:
                self._ray.get(self._stopping, timeout=_STOP_SECONDS)
                while self._news(self._ray.get(self._actor.news.remote())) is None:
                    pass
        except self._ray.exceptions.RayError:
            pass  # what arrived before is a run that was interrupted
        self._end()

    def _poll(self) -> Ended | None:
        errors = self._ray.exceptions
        came: Any = None
        try:
            if self._awaited is not None:
                if not self._ray.wait([self._awaited], timeout=0)[0]:
                    return None
                came = self._ray.get(self._awaited)
            self._awaited = self._steps.send(came)
        except StopIteration as stop:
            return stop.value
        except errors.RayTaskError as error:
            return Ended(1, f"on its node: {_last_line(error)}")
        except errors.RayError as error:
            if "No module named 'revive" in str(error):
                problem = "revive is not installed on all nodes of the cluster; install it there"
                return Ended(PrerequisiteError.exit_code, problem, final=True)
            return Ended(_LOST, f"its worker or its node was lost: {_last_line(error)}")
        return None

    def _work(self) -> _Steps:
        ready: Ready = yield self._actor.prepare.remote()
        if ready.problem:
            return Ended(PrerequisiteError.exit_code, ready.problem, final=True)
        if not ready.shared and self._place.is_dir():
            sender, more = Sender(self._place), True
            while more:
                parcel = sender.parcel()
                yield self._actor.take.remote(parcel)
                more = parcel.names is None
        yield self._actor.begin.remote()
        self.begun = True
        while True:
            ended = self._news((yield self._actor.news.remote()))
            if ended is not None:
                return ended

    def _news(self, news: News) -> Ended | None:
        """Write down what came."""
        if news.parcel.files or news.parcel.names is not None:
            receive(self._place, news.parcel)
        if news.ended is not None and news.log:
            write_bytes(self._out / f"{self._order.name}.log", news.log)
        return news.ended

    def _end(self) -> None:
        """Give its place back."""
        try:
            if self.begun:
                self._ray.get(self._actor.clear.remote(), timeout=_STOP_SECONDS)
        except self._ray.exceptions.RayError:
            pass  # a worker that is lost clears nothing; the next one there does
        self._ray.kill(self._actor)


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
