"""Who wants to know how a run goes: the base class listens and does nothing."""

from collections.abc import Mapping


class Observer:
    """Told about a run as it goes. Every method may be overridden; none may touch the run."""

    def started(self, done: int, total: int) -> None:
        """A run begins or resumes: edits already made, edits in the stream."""

    def phase(self, name: str, done: int, total: int) -> None:
        """Something is being computed; `total` is 0 where it is not known."""

    def batch(self, edits: int) -> None:
        """A batch is committed; `edits` have been processed by now."""

    def measured(self, edits: int, metrics: Mapping[str, float]) -> None:
        """The model was measured after `edits` edits."""

    def alarm(self, message: str) -> None:
        """The run's alarm is raised."""

    def say(self, message: str) -> None:
        """Something that the person should know, and that is no alarm."""
