"""What replaying a batch needs, on the disk: memory does not grow with the number of batches.

A run has its folder for that (`run_folder.store`); this is for an editor without one.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from revive.io.tensors import load_tensors, save_tensors

if TYPE_CHECKING:
    from torch import Tensor


class UndoCache:
    """Tensors of the batches made so far, in a temporary folder that goes with this object."""

    def __init__(self) -> None:
        """Nothing is kept, and no folder made, yet."""
        self._folder: TemporaryDirectory[str] | None = None
        self._count = 0

    def __len__(self) -> int:
        """Number of batches kept."""
        return self._count

    def __iter__(self) -> "Iterator[dict[str, Tensor]]":
        """From the first on; each is read when it is its turn, to the CPU.

        Raises:
            SpecError: A file is missing or damaged.
        """
        return (load_tensors(self._path(i)) for i in range(self._count))

    def append(self, tensors: "Mapping[str, Tensor]") -> None:
        """Keep one more.

        Raises:
            PrerequisiteError: The disk is full; nothing is kept of it.
        """
        save_tensors(self._path(self._count), tensors)
        self._count += 1

    def drop(self, last: int) -> None:
        """Forget the last so many, all at most."""
        for _ in range(last):
            self._count -= 1
            self._path(self._count).unlink(missing_ok=True)

    def _path(self, number: int) -> Path:
        if self._folder is None:
            self._folder = TemporaryDirectory(prefix="revive-editor-")
        return Path(self._folder.name) / f"{number:06d}.safetensors"
