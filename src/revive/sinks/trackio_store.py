"""Trackio: a local dashboard by Hugging Face."""

from collections.abc import Sequence
from typing import Any, ClassVar, final

from revive.sinks.base import Point, Sink, SinkRun
from revive.sinks.cursor import Cursor


@final
class Trackio(Sink):
    """Numbers in Trackio's local store; `trackio show` draws them.

    A Trackio step is a line of the journal; the axis to draw over is `edits`. Its own variables
    (`TRACKIO_DIR`, ...) hold.
    """

    name: ClassVar[str] = "trackio"
    summary: ClassVar[str] = "Trackio's local store: trackio show --project revive"
    package: ClassVar[str] = "trackio"

    def __init__(self, project: str = "revive") -> None:
        """Set up.

        Args:
            project: Project in Trackio.
        """
        self._project = project

    def open(self, run: SinkRun, past: Sequence[Point]) -> None:
        """Begin a Trackio run or go on with it, and send what it has not seen."""
        import trackio  # pyright: ignore[reportMissingImports]

        self._told = Cursor.read(run.folder / "trackio.json")
        # Runs are told apart by their names, and folders of one name are common.
        self._run: Any = trackio.init(
            project=self._project,
            name=f"{run.name}-{self._told.id}",
            resume="allow",
            config=dict(run.spec),
            auto_log_cpu=False,
            auto_log_gpu=False,
        )
        for point in past:
            self.receive(point)

    def receive(self, point: Point) -> None:
        """Send it."""
        if self._told.new(point):
            self._run.log({**point.values, "edits": point.edits}, step=point.index)

    def close(self) -> None:
        """Let it finish writing, through the module: else it would finish the run again at exit."""
        import trackio  # pyright: ignore[reportMissingImports]

        trackio.finish()
