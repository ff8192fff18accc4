"""Live progress of a run: one row an arm on a terminal, a plain line now and then elsewhere."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TextColumn,
)
from rich.table import Column

from revive.cli.output import plain

PLAIN_EVERY = 60.0
"""Seconds between two plain lines of one arm."""


@dataclass(slots=True)
class _Arm:
    """What is known of one arm; `origin` is where and when this process took it up."""

    edits: int = 0
    efficacy: float | None = None
    exact: float | None = None
    general: float | None = None
    phase: str = ""
    origin: tuple[int, float] | None = None
    stopped: float | None = None
    printed: float = -math.inf

    def rate(self, now: float) -> float | None:
        """Edits per second since this process took the arm up."""
        if self.origin is None:
            return None
        first, since = self.origin
        elapsed = (now if self.stopped is None else self.stopped) - since
        return (self.edits - first) / elapsed if elapsed > 0 and self.edits > first else None


class RunProgress:
    """Progress of one or several arms over the same stream of edits.

    On a terminal every arm is a live row; elsewhere an arm prints a plain line to the same console
    every minute and when it ends. Everything goes to stderr unless a console is given.

    Args:
        labels: Names of the arms, in the order of their rows.
        total_edits: Length of the stream.
        quiet: Print nothing at all.
        console: Where to print.
    """

    def __init__(
        self,
        labels: Sequence[str],
        total_edits: int,
        *,
        quiet: bool = False,
        console: Console | None = None,
    ) -> None:
        self._console = console if console is not None else Console(stderr=True)
        self._total = total_edits
        self._quiet = quiet
        self._arms = {label: _Arm() for label in labels}
        self._tasks: dict[str, TaskID] = {}
        self._live: Progress | None = None

    def __enter__(self) -> Self:
        """Show the rows, if there is a terminal to show them on."""
        if not self._quiet and self._console.is_terminal:
            columns = _columns(self._console.width)
            self._live = Progress(*columns, console=self._console, refresh_per_second=4)
            for label in self._arms:
                self._tasks[label] = self._live.add_task(
                    plain(label), total=self._total, numbers="", phase="waiting"
                )
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the last state of the rows on the screen."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def update(
        self,
        label: str,
        *,
        edits: int | None = None,
        efficacy: float | None = None,
        exact: float | None = None,
        general: float | None = None,
        phase: str | None = None,
    ) -> None:
        """Tell what is new about one arm; what is not given stays as it was.

        The first `edits` of an arm is where its clock starts, so that a resumed run shows its own
        speed.

        Args:
            label: One of the arms.
            edits: Edits written so far.
            efficacy: Efficacy last measured, in [0, 1].
            exact: Exact success last measured, in [0, 1]; shown where there is no efficacy, as of
                edits without a true target.
            general: General ability last measured, in [0, 1].
            phase: What is going on now.
        """
        arm, now = self._arms[label], time.monotonic()
        if arm.stopped is not None:
            return
        if arm.origin is None and edits is not None:
            arm.origin = (edits, now)
        arm.edits = arm.edits if edits is None else edits
        arm.efficacy = arm.efficacy if efficacy is None else efficacy
        arm.exact = arm.exact if exact is None else exact
        arm.general = arm.general if general is None else general
        arm.phase = arm.phase if phase is None else phase
        self._show(label, now, force=False)

    def follow(self, label: str, done: int, metrics: Mapping[str, float], phase: str) -> None:
        """Tell what `run_variants` reports of one arm.

        Args:
            label: One of the arms.
            done: Edits written so far.
            metrics: Those last measured.
            phase: What is going on now; `done` once it has ended well.
        """
        self.measured(label, metrics)
        self.update(label, edits=done, phase=phase)
        if phase == "done":
            self.finish(label)

    def measured(self, label: str, metrics: Mapping[str, float], *, edited: bool = True) -> None:
        """Tell what was measured last.

        Args:
            label: One of the arms.
            metrics: By the names of `revive list metrics`.
            edited: Whether there were edits in the model: before, its success is not the stream's.
        """
        own = metrics if edited else {}
        self.update(
            label,
            efficacy=_known(own.get("efficacy")),
            exact=_known(own.get("efficacy_exact")),
            general=_known(metrics.get("general")),
        )

    def finish(self, label: str) -> None:
        """Stop an arm's clock and show its last state; later news of it are ignored."""
        arm, now = self._arms[label], time.monotonic()
        if arm.stopped is not None:
            return
        arm.stopped, arm.phase = now, "done"
        self._show(label, now, force=True)

    def _show(self, label: str, now: float, *, force: bool) -> None:
        arm = self._arms[label]
        if self._quiet:
            return
        if self._live is not None:
            self._live.update(
                self._tasks[label],
                completed=arm.edits,
                numbers=" ".join(_numbers(arm, self._total, now)),
                phase=arm.phase,
            )
        elif not self._console.is_terminal and (force or now - arm.printed >= PLAIN_EVERY):
            arm.printed = now
            parts = [f"{arm.edits:,}/{self._total:,} edits", *_numbers(arm, self._total, now)]
            line = f"{label}: {', '.join([*parts, *([arm.phase] if arm.phase else [])])}"
            self._console.print(plain(line), markup=False, highlight=False, soft_wrap=True)


def _known(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else value


def _columns(width: int) -> list[ProgressColumn]:
    """What fits side by side: the name gives way first, then the phase, then the bar."""
    name = Column(no_wrap=True, overflow="ellipsis", max_width=min(40, max(8, width - 60)))
    whole = Column(no_wrap=True)
    columns: list[ProgressColumn] = [
        TextColumn("{task.description}", markup=False, table_column=name)
    ]
    if width >= 70:
        columns.append(BarColumn(bar_width=10, table_column=whole))
    columns.append(MofNCompleteColumn(table_column=whole))
    columns.append(TextColumn("{task.fields[numbers]}", markup=False, table_column=whole))
    if width >= 100:
        phase = Column(no_wrap=True, min_width=8)
        columns.append(
            TextColumn("{task.fields[phase]}", style="dim", markup=False, table_column=phase)
        )
    return columns


def _numbers(arm: _Arm, total: int, now: float) -> list[str]:
    parts: list[str] = []
    if arm.efficacy is not None:
        parts.append(f"eff {arm.efficacy:.2f}")
    elif arm.exact is not None:
        parts.append(f"exact {arm.exact:.2f}")
    if arm.general is not None:
        parts.append(f"gen {arm.general:.2f}")
    rate = arm.rate(now)
    if rate is not None:
        parts.append(f"{rate:.3g}/s")
        if arm.stopped is None and arm.edits < total:
            parts.append(f"{_clock((total - arm.edits) / rate)} left")
    return parts


def _clock(seconds: float) -> str:
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"
