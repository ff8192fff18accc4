"""Weights & Biases."""

from collections.abc import Sequence
from typing import Any, ClassVar, final

from revive.sinks.base import Point, Sink, SinkRun
from revive.sinks.cursor import Cursor


@final
class Wandb(Sink):
    """Numbers over the number of edits, in one W&B run however often the run is interrupted.

    The service's own variables hold (`WANDB_MODE=offline`, `WANDB_API_KEY`, ...). A W&B step is a
    line of the journal, which only grows; the axis to draw over is `edits`. What W&B was told
    before a rollback stays there: it only appends.
    """

    name: ClassVar[str] = "wandb"
    summary: ClassVar[str] = "Weights & Biases; WANDB_MODE=offline keeps it on the disk"
    package: ClassVar[str] = "wandb"

    def __init__(self, project: str = "revive", entity: str | None = None) -> None:
        """Set up.

        Args:
            project: Project of the W&B run.
            entity: User or team; None for the user's default.
        """
        self._project = project
        self._entity = entity

    def open(self, run: SinkRun, past: Sequence[Point]) -> None:
        """Begin a W&B run or go on with it, and send what it has not seen."""
        import wandb  # pyright: ignore[reportMissingImports]

        self._told = Cursor.read(run.folder / "wandb" / "revive.json")
        self._told.path.parent.mkdir(exist_ok=True)
        self._run: Any = wandb.init(
            project=self._project,
            entity=self._entity,
            name=run.name,
            id=self._told.id,
            resume="allow",
            config=dict(run.spec),
            dir=str(run.folder),
            settings=wandb.Settings(silent=True, console="off", x_disable_stats=True),
        )
        self._run.define_metric("edits")
        self._run.define_metric("*", step_metric="edits")
        for point in past:
            self.receive(point)

    def receive(self, point: Point) -> None:
        """Send it."""
        if self._told.new(point):
            self._run.log({**point.values, "edits": point.edits}, step=point.index)

    def close(self) -> None:
        """Let it finish sending."""
        self._run.finish()
