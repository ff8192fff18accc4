"""TensorBoard: event files beside the run."""

from collections.abc import Sequence
from typing import ClassVar, final

from revive.io.yaml_text import format_yaml
from revive.paths import at_home
from revive.sinks.base import Point, Sink, SinkRun


@final
class TensorBoard(Sink):
    """Scalars over the number of edits, by `torch.utils.tensorboard`.

    Every process writes a file of its own that begins by telling readers to forget what came
    before, and repeats it from the journal: batches that were undone disappear, and what a kill
    kept from being written is made up for.
    """

    name: ClassVar[str] = "tensorboard"
    summary: ClassVar[str] = "event files in the run folder: tensorboard --logdir RUN"
    package: ClassVar[str] = "tensorboard"

    def __init__(self, folder: str | None = None) -> None:
        """Set up.

        Args:
            folder: Where event files go; `tensorboard/` in the run folder if None.
        """
        self._folder = folder

    def open(self, run: SinkRun, past: Sequence[Point]) -> None:
        """Begin a file, and repeat in it what stands."""
        from torch.utils.tensorboard import SummaryWriter

        folder = run.folder / "tensorboard" if self._folder is None else at_home(self._folder)
        self._writer = SummaryWriter(str(folder), purge_step=0)
        lines = format_yaml(dict(run.spec)).splitlines()
        # Markdown's code block.
        self._writer.add_text("spec", "\n".join(f"    {line}" for line in lines), 0)
        for point in past:
            if point.stands:
                self._add(point)
        self._writer.flush()

    def receive(self, point: Point) -> None:
        """Write it through: a kill must cost nothing that was shown."""
        self._add(point)
        self._writer.flush()

    def close(self) -> None:
        """Close the file."""
        self._writer.close()

    def _add(self, point: Point) -> None:
        for tag, value in point.values.items():
            self._writer.add_scalar(tag, value, point.edits, walltime=point.event["time"])
