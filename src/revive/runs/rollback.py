"""Undo: a run's last batches, or one edit out of the middle."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from revive.errors import SpecError
from revive.linalg.lowrank import LowRank
from revive.runs.engine import stored_columns, stored_updates
from revive.runs.journal import Journal
from revive.runs.replay import BatchContents, standing_updates
from revive.runs.store import RunFolder
from revive.runs.summary import standing


@dataclass(frozen=True)
class Undone:
    """What a rollback did.

    Attributes:
        step: Committed batches now.
        removed: Ids of the edits that are gone.
        norm: Frobenius norm of what was taken out, summed over sites in squares.
        note: What a user should know.
    """

    step: int
    removed: tuple[str, ...]
    norm: float
    note: str


def rollback_to(folder: Path, step: int) -> Undone:
    """Forget every batch after `step`. The journal keeps the record; `resume` goes on from there.

    Raises:
        SpecError: Not a run folder, or no such step.
    """
    run = RunFolder.open(folder)
    with run.lock():
        journal = Journal.open(run.journal)
        committed = journal.committed_step()
        if not 0 <= step <= committed:
            raise SpecError(
                f"--to: the run has {committed} committed batches; give 0 to {committed}."
            )
        gone = [e for e in standing(journal.events()) if e["event"] == "batch" and e["step"] > step]
        contents = BatchContents.of(journal)
        squares = [_square(standing_updates(run, contents, e["step"])) for e in gone]
        # The journal's line is the commit; files beyond it are leftovers from then on.
        journal.append("rollback", step, to=step)
        run.drop_after(step)
    removed = tuple(i for e in gone for i in e["made"])
    return Undone(
        step, removed, sum(squares) ** 0.5, f"'revive resume {folder}' makes the batches again."
    )


def rollback_edit(folder: Path, edit_id: str) -> Undone:
    """Take one edit's contribution out of its batch.

    Stored updates know which edit each of their columns belongs to, so its part of every weight is
    removed exactly.
    What it did not write is not undone: later batches were computed on a model that held it, and
    its key stays in the history of editors that keep one.

    Raises:
        SpecError: Not a run folder, or no such edit.
    """
    run = RunFolder.open(folder)
    with run.lock():
        journal = Journal.open(run.journal)
        events = standing(journal.events())
        batch = next((e for e in events if e["event"] == "batch" and edit_id in e["made"]), None)
        if batch is None or any(
            e["event"] == "rollback" and e.get("edit") == edit_id for e in events
        ):
            raise SpecError(f"--edit: no edit {edit_id!r} is in the model of this run.")
        step, number = batch["step"], batch["made"].index(edit_id)
        tensors = run.load_update(step)
        parts: dict[str, LowRank] = {}
        for key, factors in stored_updates(tensors).items():
            owners = stored_columns(tensors).get(key)
            if owners is None:
                raise SpecError(
                    f"--edit: the update of {key} is no sum of one part per edit; use --to instead."
                )
            columns = [c for c, owner in enumerate(owners) if owner == number]
            parts[key] = LowRank(factors.left[:, columns], factors.right[columns])
        norm = _square(parts) ** 0.5
        # Checkpoints that hold the edit go first: after a kill in between, the sums are replayed.
        run.drop_checkpoints_from(step)
        journal.append("rollback", journal.committed_step(), edit=edit_id, batch=step)
        last = journal.committed_step()
    shared = len(batch["made"]) - 1
    note = (
        f"{_of_its_fact(events, edit_id)}"
        f"Its batch wrote {shared} other edits with it, solved together: their outputs on keys "
        "like this one's move too; "
        f"{last - step} later batches were computed on a model that held it. Measure again with "
        f"'revive evaluate'."
    )
    return Undone(last, (edit_id,), norm, note)


def _of_its_fact(events: Sequence[Mapping[str, Any]], edit_id: str) -> str:
    """What becomes of other edits of the fact, as a sentence; empty if there are none."""
    before: dict[str, str] = {}
    after: dict[str, str] = {}
    gone = {event["edit"] for event in events if event.get("edit")}
    for event in events:
        for later, earlier in event.get("supersedes", {}).items():
            before[later], after[earlier] = earlier, later
    later, earlier = after.get(edit_id), before.get(edit_id)
    while later is not None and later in gone:
        later = after.get(later)
    while earlier is not None and earlier in gone:
        earlier = before.get(earlier)
    if later is not None:
        return f"Edit {later} of the same fact, which had superseded it, stands. "
    if earlier is not None:
        return f"Edit {earlier} of the same fact stands again. "
    return ""


def _square(updates: Mapping[str, LowRank]) -> float:
    return sum(factors.fro() ** 2 for factors in updates.values())
