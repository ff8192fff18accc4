"""Records that cannot be used: all are counted before any is told, or they are left out."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from revive.errors import SpecError

SHOWN = 10
"""How many are told one by one."""


@dataclass
class Bad:
    """What was found bad on the way through a file."""

    found: list[SpecError] = field(default_factory=list[SpecError])

    @contextmanager
    def noting(self) -> Generator[None, None, None]:
        """Go on after a record that is refused inside."""
        try:
            yield
        except SpecError as error:
            # With its frames, each of them holds the record; a file may hold a million.
            self.found.append(error.with_traceback(None))

    def refuse(self, name: str) -> None:
        """Raise what was found, if anything was.

        Raises:
            SpecError: One record alone is told as it is; of several, the count and the first ten.
        """
        if len(self.found) == 1:
            raise self.found[0]
        if self.found:
            raise SpecError(
                f"{name}: {len(self.found)} records cannot be used; correct them, or leave them "
                "out with --skip-bad (edits.skip_bad: true).",
                details=listed(tuple(map(str, self.found))),
            ) from self.found[0]


def listed(messages: Sequence[str]) -> tuple[str, ...]:
    """The first ten, and how many more there are."""
    more = len(messages) - SHOWN
    return (*messages[:SHOWN], *([f"and {more} more."] if more > 0 else []))
