"""The run folder: the truth about a run. No torch until a tensor is read or written."""

import logging
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from revive.errors import SpecError
from revive.paths import at_home
from revive.runs.atomic import (
    disk_full,
    is_disk_full,
    is_partial,
    remove_partials,
    replacing,
    write_text,
)
from revive.runs.journal import Journal
from revive.runs.json_text import read_json, to_json
from revive.runs.lock import is_locked, locked
from revive.runs.tensors import load_tensors, save_tensors

if TYPE_CHECKING:
    from torch import Tensor

    from revive.metrics.outcomes import Outcomes

__all__ = ["RunFolder", "load_tensors", "save_tensors"]

_LOG = logging.getLogger(__name__)
_LOCK = ".lock"
_SUFFIX = ".safetensors"


class RunFolder:
    """A run's folder; every file in it appears whole or not at all.

    Attributes:
        path: The folder.
        spec: The resolved spec.
        env: Versions, hardware, model fingerprint.
        journal: What happened.
        summary: Results, once the run is over.
        edits: What became of every edit, once the run is over.
        edits_csv: The same as a table.
        report: The page.
    """

    def __init__(self, path: Path) -> None:
        """Use `create` or `open`."""
        self.path = path
        self.spec = path / "spec.yaml"
        self.env = path / "env.json"
        self.journal = path / "journal.jsonl"
        self.summary = path / "summary.json"
        self.edits = path / "edits.json"
        self.edits_csv = path / "edits.csv"
        self.report = path / "report"
        self._updates = path / "updates"
        self._checkpoints = path / "checkpoints"
        self._measures = path / "measures"

    @classmethod
    def create(cls, path: str | Path) -> "RunFolder":
        """Make a folder for a new run.

        Raises:
            SpecError: There is something already.
        """
        path = at_home(path)
        cls.check_free(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
            (path / _LOCK).touch()
        except OSError as error:
            if is_disk_full(error):
                raise disk_full(path) from error
            raise SpecError(
                f"{path}: cannot be made ({error.strerror}); choose another --out."
            ) from error
        return cls(path)

    @staticmethod
    def check_free(path: Path) -> None:
        """Refuse a folder that a new run cannot be made in.

        Raises:
            SpecError: There is something already.
        """
        if path.exists() and not path.is_dir():
            raise SpecError(f"{path}: is a file; choose another --out.")
        if (path / "spec.yaml").exists():
            raise SpecError(
                f"{path}: holds a run already; continue it with 'revive resume {path}', or choose "
                "another --out."
            )
        if path.exists() and any(p.name != _LOCK and not is_partial(p) for p in path.iterdir()):
            raise SpecError(f"{path}: is not empty; choose another --out.")

    @classmethod
    def open(cls, path: str | Path) -> "RunFolder":
        """An existing run.

        Raises:
            SpecError: There is none, or its journal is damaged or of a newer version.
        """
        path = at_home(path)
        folder = cls(path)
        what = ""
        if not folder.spec.is_file():
            what = "is no run folder (it has no spec.yaml)" if path.is_dir() else "no such folder"
        elif not (path / _LOCK).exists() and not folder.journal.is_file():
            # Somebody's own spec.yaml among other files: a run must not spread out there.
            what = "is no run folder (it has no journal.jsonl)"
        if what:
            raise SpecError(f"{path}: {what}; name a folder that 'revive run' wrote.")
        # A newer version may have other keys in its spec too: its journal is asked first.
        Journal.read(folder.journal)
        return folder

    @contextmanager
    def lock(self) -> Generator[None, None, None]:
        """Keep other writers out, and clear what a killed one left half written.

        Raises:
            SpecError: Another process is writing.
        """
        with locked(self.path / _LOCK):
            for folder in (self.path, self._updates, self._checkpoints, self._measures):
                remove_partials(folder)
            yield

    def locked(self) -> bool:
        """Whether a process is writing."""
        return is_locked(self.path / _LOCK)

    def write_spec(self, text: str) -> None:
        """Store the resolved spec."""
        write_text(self.spec, text)

    def write_env(self, env: Mapping[str, object]) -> None:
        """Store what the run ran on."""
        write_text(self.env, to_json(env, indent=2) + "\n")

    def read_env(self) -> dict[str, Any]:
        """What the run ran on; empty if that was never stored.

        Raises:
            SpecError: The file is damaged.
        """
        if not self.env.exists():
            return {}
        try:
            value: object = read_json(self.env.read_text(encoding="utf-8"))
        except ValueError as error:
            raise SpecError(f"{self.env}: is damaged ({error}); restore or delete it.") from error
        return cast("dict[str, Any]", value) if isinstance(value, dict) else {}

    def write_summary(self, summary: Mapping[str, object]) -> None:
        """Store the results."""
        write_text(self.summary, to_json(summary, indent=2) + "\n")

    def save_update(self, step: int, tensors: "Mapping[str, Tensor]") -> None:
        """Store what a batch wrote; counts once the journal says so.

        Raises:
            PrerequisiteError: The disk is full.
        """
        save_tensors(_numbered(self._updates, step), tensors)

    def load_update(self, step: int, prefix: str = "") -> "dict[str, Tensor]":
        """What a batch wrote; those tensors alone whose name begins with `prefix`.

        Raises:
            SpecError: The file is missing or damaged.
        """
        return load_tensors(_numbered(self._updates, step), prefix)

    def save_checkpoint(self, step: int, tensors: "Mapping[str, Tensor]", *, keep: int = 2) -> None:
        """Store the state after a batch, then drop all but the newest and that of step 0.

        Raises:
            PrerequisiteError: The disk is full; older checkpoints are still there.
        """
        save_tensors(_numbered(self._checkpoints, step), tensors)
        for old in [s for s in self.checkpoints() if 0 < s < step][: -(keep - 1) or None]:
            _numbered(self._checkpoints, old).unlink(missing_ok=True)

    def load_checkpoint(self, step: int) -> "dict[str, Tensor]":
        """The state after a batch.

        Raises:
            SpecError: The file is missing or damaged.
        """
        return load_tensors(_numbered(self._checkpoints, step))

    def checkpoints(self) -> list[int]:
        """Steps with a checkpoint, ascending."""
        return _steps(self._checkpoints)

    def save_outcomes(self, step: int, probe: str, outcomes: "Outcomes") -> None:
        """Store what a probe measured of every edit after a batch.

        Raises:
            PrerequisiteError: The disk is full.
        """
        with replacing(_outcomes_path(self._measures, step, probe)) as partial:
            partial.write_bytes(outcomes.to_bytes())

    def load_outcomes(self, step: int, probe: str) -> "Outcomes | None":
        """What a probe measured of every edit after a batch; None where it was not kept.

        Raises:
            SpecError: The file is damaged.
        """
        from revive.metrics.outcomes import read_outcomes

        path = _outcomes_path(self._measures, step, probe)
        return read_outcomes(path) if path.is_file() else None

    def drop_checkpoints_from(self, step: int) -> None:
        """Forget the state after `step` and later ones; updates can rebuild it."""
        for saved in self.checkpoints():
            if saved >= step:
                _numbered(self._checkpoints, saved).unlink(missing_ok=True)

    def drop_after(self, step: int) -> None:
        """Forget updates, states and results after a step."""
        self.drop_checkpoints_from(step + 1)
        for saved in _steps(self._updates):
            if saved > step:
                _numbered(self._updates, saved).unlink(missing_ok=True)
        for kept in self._measures.glob(f"*{_SUFFIX}"):
            number = kept.name.partition(".")[0]
            if number.isascii() and number.isdigit() and int(number) > step:
                kept.unlink(missing_ok=True)
        for result in (self.summary, self.edits, self.edits_csv):
            result.unlink(missing_ok=True)


def _outcomes_path(folder: Path, step: int, probe: str) -> Path:
    return folder / f"{step:06d}.{probe}{_SUFFIX}"


def _numbered(folder: Path, step: int) -> Path:
    return folder / f"{step:06d}{_SUFFIX}"


def _steps(folder: Path) -> list[int]:
    names = (p.name.removesuffix(_SUFFIX) for p in folder.glob(f"*{_SUFFIX}"))
    return sorted(int(name) for name in names if name.isascii() and name.isdigit())
