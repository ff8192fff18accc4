"""The run folder: the truth about a run. No torch until a tensor is read or written."""

import logging
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from revive.errors import SpecError
from revive.io.atomic import (
    disk_full,
    is_disk_full,
    is_partial,
    make_folder,
    remove_partials,
    write_text,
)
from revive.io.json_text import read_json, to_json
from revive.io.lock import Lock, is_locked, locked
from revive.io.sealed import (
    DamagedError,
    Identity,
    Values,
    check_header,
    check_values,
    read_header,
    refuse_link,
    write_sealed,
)
from revive.io.signed_json import signed
from revive.io.tensors import load_tensors, save_tensors
from revive.paths import at_home
from revive.run_folder.contradictions import check_files
from revive.run_folder.journal import Journal
from revive.run_folder.known_files import Known, number_of, numbers_in

if TYPE_CHECKING:
    from torch import Tensor

    from revive.metrics.outcomes import Outcomes

__all__ = ["RunFolder", "load_tensors", "save_tensors"]

_LOG = logging.getLogger(__name__)
_LOCK = ".lock"
_SUFFIX = ".safetensors"
_OWN = frozenset(
    {
        *("spec.yaml", "env.json", "journal.jsonl", "journal.head", "summary.json", "edits.json"),
        *("edits.csv", "updates", "checkpoints", "measures", _LOCK),
    }
)
"""What a run folder holds; what else lies there is the user's."""


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
        self._lock: Lock | None = None

    @classmethod
    def create(cls, path: str | Path) -> "RunFolder":
        """Make a folder for a new run.

        Raises:
            SpecError: There is something already.
        """
        path = at_home(path)
        cls.check_free(path)
        try:
            make_folder(path)
            refuse_link(path / _LOCK)
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
    def open(cls, path: str | Path, *, damaged: bool = False) -> "RunFolder":
        """An existing run, as far as its small files tell; tensors are checked when they are read.

        Args:
            path: The folder.
            damaged: Open it whatever its journal says; who asks for that looks into it.

        Raises:
            SpecError: There is none, its files contradict each other, its journal is damaged or of
                a newer version.
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
        folder.refuse_links()
        if not damaged:
            # A newer version may have other keys in its spec too: its journal is asked first.
            check_files(folder.path, Journal.read(folder.journal))
        return folder

    def refuse_links(self) -> None:
        """Refuse a folder of which a part lies elsewhere: nothing outside is read or written.

        Raises:
            SpecError: Names the link.
        """
        for path in self.path.iterdir() if self.path.is_dir() else ():
            if path.name in _OWN or is_partial(path):
                refuse_link(path)

    @contextmanager
    def lock(self) -> Generator[None, None, None]:
        """Keep other writers out, and clear what a killed one left half written.

        Raises:
            SpecError: Another process is writing.
        """
        self.refuse_links()
        with locked(self.path / _LOCK) as held:
            for folder in (self.path, self._updates, self._checkpoints, self._measures):
                remove_partials(folder)
            self._lock = held
            try:
                yield
            finally:
                self._lock = None

    def check_writer(self) -> None:
        """Refuse to write on where the lock is gone, or a part of the folder lies elsewhere.

        Raises:
            SpecError: Says which.
        """
        if self._lock is not None:
            self._lock.check()
        for folder in (self._updates, self._checkpoints, self._measures):
            refuse_link(folder)

    def open_journal(self) -> Journal:
        """The journal, to be written on by whoever holds the lock.

        Raises:
            SpecError: It is damaged, or a newer version wrote it.
        """
        return Journal.open(self.journal, self.check_writer)

    def locked(self) -> bool:
        """Whether a process is writing."""
        return is_locked(self.path / _LOCK)

    def write_spec(self, text: str) -> None:
        """Store the resolved spec."""
        self.check_writer()
        write_text(self.spec, text)

    def write_env(self, env: Mapping[str, object]) -> None:
        """Store what the run ran on."""
        self.check_writer()
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

    def write_summary(
        self, summary: Mapping[str, object], journal_time: float = 0.0
    ) -> dict[str, Any]:
        """Store the results, with a checksum; gives what was stored.

        Args:
            summary: Plain data.
            journal_time: When the journal says that the run ended: of which state this is.
        """
        self.check_writer()
        whole = signed({**summary, "journal_time": journal_time})
        write_text(self.summary, to_json(whole, indent=2) + "\n")
        return whole

    def save_update(self, step: int, tensors: "Mapping[str, Tensor]", run: str = "") -> str:
        """Store what a batch wrote; counts once the journal says so.

        Args:
            step: Number of the batch.
            tensors: By name.
            run: The run's identity.

        Returns:
            The file's seal, for the journal.

        Raises:
            PrerequisiteError: The disk is full.
            SpecError: This process may write no more.
        """
        self.check_writer()
        return save_tensors(
            _numbered(self._updates, step), tensors, Identity(run, "update", step).metadata()
        )

    def load_update(
        self, step: int, prefix: str = "", known: Known | None = None
    ) -> "dict[str, Tensor]":
        """What a batch wrote; those tensors alone whose name begins with `prefix`.

        Args:
            step: Number of the batch.
            prefix: Of the names.
            known: What the journal says of the run's files; None takes a file at its word.

        Raises:
            DamagedError: The file is missing, damaged or another one.
        """
        run, seal = ("", None) if known is None else (known.run, known.updates.get(step))
        identity = Identity(run, "update", step)
        return load_tensors(_numbered(self._updates, step), prefix, identity, seal)

    def save_checkpoint(
        self, step: int, tensors: "Mapping[str, Tensor]", *, run: str = "", keep: int = 2
    ) -> str:
        """Store the state after a batch, then drop all but the newest and that of step 0.

        Returns:
            The file's seal, for the journal.

        Raises:
            PrerequisiteError: The disk is full; older checkpoints are still there.
            SpecError: This process may write no more.
        """
        self.check_writer()
        identity = Identity(run, "checkpoint", step)
        seal = save_tensors(_numbered(self._checkpoints, step), tensors, identity.metadata())
        for old in [s for s in self.checkpoints() if 0 < s < step][: -(keep - 1) or None]:
            _numbered(self._checkpoints, old).unlink(missing_ok=True)
        return seal

    def load_checkpoint(self, step: int, known: Known | None = None) -> "dict[str, Tensor]":
        """The state after a batch.

        Args:
            step: The batch.
            known: What the journal says of the run's files; None takes a file at its word.

        Raises:
            DamagedError: The file is missing, damaged or another one.
        """
        run, seal = ("", None) if known is None else (known.run, known.checkpoints.get(step))
        identity = Identity(run, "checkpoint", step)
        return load_tensors(_numbered(self._checkpoints, step), "", identity, seal)

    def has_checkpoint(self, step: int, known: Known) -> bool:
        """Whether a state that counts is there, and whole."""
        if step not in known.checkpoints:
            return False
        try:
            self.load_checkpoint(step, known)
        except DamagedError:
            return False
        return True

    def checkpoint_path(self, step: int) -> Path:
        """Where the state after a batch lies."""
        return _numbered(self._checkpoints, step)

    def update_path(self, step: int) -> Path:
        """Where a batch's update lies."""
        return _numbered(self._updates, step)

    def checkpoints(self) -> list[int]:
        """Steps with a checkpoint, ascending."""
        return numbers_in(self._checkpoints)

    def updates(self) -> list[int]:
        """Steps with a stored update, ascending."""
        return numbers_in(self._updates)

    def save_outcomes(self, step: int, probe: str, outcomes: "Outcomes", run: str = "") -> str:
        """Store what a probe measured of every edit after a batch.

        Returns:
            The file's seal, for the journal.

        Raises:
            PrerequisiteError: The disk is full.
            SpecError: This process may write no more.
        """
        self.check_writer()
        identity = Identity(run, f"outcomes of {probe}", step)
        about = {**identity.metadata(), **outcomes.metadata()}
        values = {
            name: Values("F64", column.shape, memoryview(column.tobytes()))
            for name, column in outcomes.columns.items()
        }
        return write_sealed(_outcomes_path(self._measures, step, probe), values, about)

    def load_outcomes(self, step: int, probe: str, known: Known | None = None) -> "Outcomes | None":
        """What a probe measured of every edit after a batch; None where it was not kept.

        Args:
            step: The batch.
            probe: Name of the probe.
            known: What the journal says of the run's files; None takes a file at its word.

        Raises:
            DamagedError: The file is damaged or another one.
        """
        from revive.metrics.outcomes import read_outcomes

        path = _outcomes_path(self._measures, step, probe)
        seal = None if known is None else known.outcomes.get((step, probe))
        if not path.is_file() and seal is None:
            return None
        refuse_link(path)
        header = read_header(path)
        run = "" if known is None else known.run
        check_header(path, header, Identity(run, f"outcomes of {probe}", step), seal)
        found = read_outcomes(path)
        for name, column in found.columns.items():
            check_values(path, header, name, memoryview(column.tobytes()))
        return found

    def drop_checkpoints_from(self, step: int) -> None:
        """Forget the state after `step` and later ones; updates can rebuild it."""
        self.check_writer()
        for saved in self.checkpoints():
            if saved >= step:
                _numbered(self._checkpoints, saved).unlink(missing_ok=True)

    def drop_after(self, step: int) -> None:
        """Forget updates, states and results after a step."""
        self.drop_checkpoints_from(step + 1)
        for saved in self.updates():
            if saved > step:
                _numbered(self._updates, saved).unlink(missing_ok=True)
        for kept in self._measures.glob(f"*{_SUFFIX}"):
            number = number_of(kept.name.partition(".")[0])
            if number is not None and number > step:
                kept.unlink(missing_ok=True)
        for result in (self.summary, self.edits, self.edits_csv):
            result.unlink(missing_ok=True)


def _outcomes_path(folder: Path, step: int, probe: str) -> Path:
    return folder / f"{step:06d}.{probe}{_SUFFIX}"


def _numbered(folder: Path, step: int) -> Path:
    return folder / f"{step:06d}{_SUFFIX}"
