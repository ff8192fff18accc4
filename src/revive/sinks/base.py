"""What a sink is: another place that is told what the journal says. No torch.

The journal is the truth. A sink sees nothing but its events, in order, and may fail without harm.
"""

import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from revive.errors import PrerequisiteError


@dataclass(frozen=True)
class SinkRun:
    """The run that a sink is told about.

    Attributes:
        name: Name of its folder.
        folder: Where a sink may keep what it needs to go on after an interruption.
        spec: The resolved spec, plain data.
    """

    name: str
    folder: Path
    spec: Mapping[str, Any]


@dataclass(frozen=True)
class Point:
    """One event of the journal, as numbers over the stream of edits.

    Attributes:
        index: Line of the journal, from 0; grows without end, rollbacks included.
        edits: Edits processed by then: the axis to draw over.
        values: Numbers by name, e.g. `measure/efficacy`; empty where the event has none.
        event: The event itself.
        stands: Whether no later rollback has undone it, as far as is known.
    """

    index: int
    edits: int
    values: Mapping[str, float]
    event: Mapping[str, Any]
    stands: bool = True


class Sink(ABC):
    """One other place. A failure of any method is told once, and the sink is left out then."""

    name: ClassVar[str]
    summary: ClassVar[str]
    package: ClassVar[str] = ""
    """What has to be importable, `tensorboard`; empty where nothing has."""
    extra: ClassVar[str] = "sinks"
    """The extra of this distribution that brings the package."""

    @classmethod
    def require(cls) -> None:
        """Refuse where the package is missing.

        Raises:
            PrerequisiteError: It is; says how to get it.
        """
        if cls.package and importlib.util.find_spec(cls.package) is None:
            raise PrerequisiteError(
                f"sinks: {cls.name} needs the package {cls.package!r}; install it with pip install "
                f"'revive-edit[{cls.extra}]', or leave the sink out."
            )

    @abstractmethod
    def open(self, run: SinkRun, past: Sequence[Point]) -> None:
        """Begin, or go on with what an earlier process began.

        Args:
            run: Which run.
            past: Everything that the journal holds already. What of it was told before is the
                sink's to know; nothing may appear twice.
        """

    @abstractmethod
    def receive(self, point: Point) -> None:
        """One more event was written to the journal."""

    @abstractmethod
    def close(self) -> None:
        """Nothing more will come from this process."""
