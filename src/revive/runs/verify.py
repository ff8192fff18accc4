"""The whole check of a run folder: every file against the journal, and what can be rebuilt."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from revive.errors import SpecError
from revive.io.json_text import read_json
from revive.io.sealed import DamagedError
from revive.io.signed_json import unsigned
from revive.run_folder.contradictions import contradiction
from revive.run_folder.edit_table import read_table
from revive.run_folder.journal import Event, remains
from revive.run_folder.journal_witness import read_witness
from revive.run_folder.known_files import Known
from revive.run_folder.store import RunFolder
from revive.run_folder.summary import ended_at
from revive.runs.identity import check_spec
from revive.runs.replay import UNVERIFIABLE, BatchContents, standing_updates
from revive.spec.parsing import load_stored_spec

_SAME = 1e-4
"""Relative distance up to which a checkpoint is the sum of the updates: they are summed in another
order on a GPU."""


@dataclass(frozen=True)
class Finding:
    """Something about one file.

    Attributes:
        file: Its name below the run folder.
        what: What is found, as the end of a sentence about it.
        then: What follows, or what to do.
        damage: Whether something is wrong.
    """

    file: str
    what: str
    then: str
    damage: bool = True


@dataclass(frozen=True)
class Verified:
    """What a check found.

    Attributes:
        step: Batches that stand.
        files: Files that were read and are what they should be.
        rebuildable: Batches after which the model can be rebuilt from the folder, 0 included.
        verifiable: Whether the run keeps checksums.
        findings: What there is to say.
    """

    step: int
    files: int
    rebuildable: tuple[int, ...]
    verifiable: bool
    findings: tuple[Finding, ...]

    @property
    def whole(self) -> bool:
        """Whether nothing is wrong."""
        return not any(finding.damage for finding in self.findings)

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {**asdict(self), "whole": self.whole}


def verify_run(folder: Path) -> Verified:
    """Check every file of a run. Nothing is written.

    Raises:
        SpecError: Not a run folder, one with symbolic links in it, or of a newer version.
    """
    run = RunFolder.open(folder, damaged=True)
    left = remains(run.journal)
    check = _Check(run, left.events)
    if left.damage is not None:
        check.add(run.journal, left.damage.what, check.from_what_is_left())
    unexplained = contradiction(run.path, left.events)
    if unexplained and left.damage is None:
        check.add(run.journal, unexplained, check.from_what_is_left())
    if left.sum and read_witness(run.journal) is None:
        what = "its witness journal.head is missing or torn"
        check.add(run.journal, what, "lines that were lost at its end would not show", damage=False)
    check.small_files()
    good = check.updates()
    states = check.checkpoints(good)
    check.outcomes()
    check.results()
    rebuildable = tuple(_rebuildable(check.step, good, states))
    verifiable = check.known.verifiable
    return Verified(check.step, check.files, rebuildable, verifiable, tuple(check.found))


class _Check:
    """One check on its way through a folder."""

    def __init__(self, run: RunFolder, events: Sequence[Event]) -> None:
        self.run = run
        self.events = events
        self.known = Known.of(events)
        self.step = max(self.known.updates, default=0)
        self.contents = BatchContents.of(events)
        self.found: list[Finding] = []
        self.files = 1
        self._wanted = set(run.checkpoints()) & set(self.known.checkpoints)
        self._sums: dict[int, dict[str, Tensor]] = {}

    def add(self, path: Path, what: str, then: str, *, damage: bool = True) -> None:
        self.found.append(Finding(str(path.relative_to(self.run.path)), what, then, damage))

    def from_what_is_left(self) -> str:
        return (
            f"its good lines reach batch {self.step}: restore it from a copy, or go on from there "
            f"with 'revive rollback {self.run.path} --to {self.step}'"
            if self.events
            else "restore it from a copy; without it the run cannot go on"
        )

    def small_files(self) -> None:
        """The spec, and what the run ran on."""
        try:
            check_spec(self.run, self.events, load_stored_spec(self.run.spec))
            self.files += 1
        except SpecError as error:
            self.add(self.run.spec, _about(error, self.run.spec), "put it back as it was")
        began = next((e for e in self.events if e["event"] == "start"), {})
        try:
            env = self.run.read_env()
        except SpecError as error:
            self.add(self.run.env, _about(error, self.run.env), "nothing depends on it")
            return
        known = began.get("model_fingerprint")
        if known is not None and env.get("model_fingerprint") != known:
            what = "is not the one that the run began with"
            self.add(self.run.env, what, "the journal knows the model; the rest of it is lost")
        else:
            self.files += 1

    def updates(self) -> set[int]:
        """Check the batches that stand; gives the whole ones."""
        good: set[int] = set()
        total: dict[str, Tensor] | None = {}
        for step in range(1, self.step + 1):
            try:
                written = standing_updates(self.run, self.contents, step)
            except DamagedError as error:
                again = f"'revive rollback {self.run.path} --to {step - 1}', then 'revive resume'"
                self.add(error.path, error.what, f"{again}, makes it and what follows again")
                total = None
                continue
            good.add(step)
            self.files += 1
            if total is not None:
                for key, factors in written.items():
                    part = factors.left @ factors.right
                    total[key] = total[key] + part if key in total else part
                if step in self._wanted:
                    self._sums[step] = dict(total)
        for step in self.run.updates():
            if step > self.step:
                what = "is of a batch that the journal does not hold"
                then = "left by a kill or a rollback; 'revive resume' makes that batch again"
                self.add(self.run.update_path(step), what, then, damage=False)
        return good

    def checkpoints(self, good_updates: set[int]) -> set[int]:
        """Check the states that are there; gives those that are whole and count."""
        good: set[int] = set()
        for step in self.run.checkpoints():
            path = self.run.checkpoint_path(step)
            if step not in self.known.checkpoints:
                what = "does not count: it has no line, or is from before something was taken out"
                self.add(path, what, "it is not used", damage=False)
                continue
            try:
                state = self.run.load_checkpoint(step, self.known)
                wrong = _unlike(state, self._sums.get(step))
                if wrong:
                    raise DamagedError(path, wrong)
            except DamagedError as error:
                same = good_updates.issuperset(range(1, step + 1))
                then = "the updates give the same sums" if same else "no other file gives its sums"
                self.add(path, error.what, f"it is not used; {then}")
                continue
            good.add(step)
            self.files += 1
        return good

    def outcomes(self) -> None:
        """Check what was measured edit by edit."""
        for step, probe in self.known.outcomes:
            try:
                self.run.load_outcomes(step, probe, self.known)
                self.files += 1
            except SpecError as error:
                path = error.path if isinstance(error, DamagedError) else self.run.path / "measures"
                what = error.what if isinstance(error, DamagedError) else _about(error, path)
                self.add(path, what, "no weight depends on it; the journal has its means")

    def results(self) -> None:
        """Check what a finished run leaves."""
        again = f"'revive resume {self.run.path}' writes that of a finished run again"
        if self.run.summary.is_file():
            try:
                fields, whole = unsigned(read_json(self.run.summary.read_text("utf-8")))
                at = fields.get("journal_time", 0.0)
                self.files += 1
                ended = ended_at(self.events)
                if not whole or at not in (ended, ended if self.known.run else 0.0):
                    what = "is of another state of the run" if whole else "was changed"
                    self.add(self.run.summary, what, again)
            except (ValueError, AttributeError) as error:
                self.add(self.run.summary, f"is not readable ({error})", again)
        if self.run.edits.is_file():
            try:
                read_table(self.run.path)
                self.files += 1
            except SpecError as error:
                self.add(self.run.edits, _about(error, self.run.edits), "delete it")
        if not self.known.verifiable:
            self.add(self.run.journal, UNVERIFIABLE, "", damage=False)


def _rebuildable(step: int, good: set[int], states: set[int]) -> Iterator[int]:
    """Batches that a good state, or none, and good updates behind it reach."""
    reached = True
    for number in range(step + 1):
        reached = number == 0 or number in states or (reached and number in good)
        if reached:
            yield number


def _unlike(state: dict[str, Tensor], total: dict[str, Tensor] | None) -> str:
    """Why a state is not the sum of the updates; empty if it is, or if that is not known."""
    for key, found in state.items():
        if not bool(torch.isfinite(found).all()):
            return f"holds NaN or infinity in {key}"
        if total is not None:
            wanted = total.get(key, torch.zeros_like(found))
            far = torch.linalg.vector_norm(found - wanted.to(found.dtype))
            if found.shape != wanted.shape or far > _SAME * torch.linalg.vector_norm(wanted):
                return f"is not the sum of the updates in {key}"
    return ""


def _about(error: SpecError, path: Path) -> str:
    """What is wrong, without the path that a finding names already."""
    return str(error.args[0]).removeprefix(f"{path}").lstrip(":, ").partition("; ")[0]


def ranges(numbers: Sequence[int]) -> str:
    """`0 to 4 and 6 to 7`."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][1] + 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    texts = [f"{a}" if a == b else f"{a} to {b}" for a, b in parts]
    return " and ".join([", ".join(texts[:-1]), texts[-1]] if len(texts) > 1 else texts)
