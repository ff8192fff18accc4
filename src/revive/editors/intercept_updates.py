"""Looking on while an editor proposes."""

from collections.abc import Callable

from revive.editors.base import Updates, WeightUpdate, WrittenUpdate


def intercept_updates(
    steps: Updates, see: Callable[[WeightUpdate, WrittenUpdate], None]
) -> Updates:
    """The same steps; `see` is told of every proposal, and of what was written of it."""
    answer: WrittenUpdate | None = None
    while True:
        try:
            proposed = next(steps) if answer is None else steps.send(answer)
        except StopIteration as stop:
            return stop.value
        answer = yield proposed
        see(proposed, answer)
