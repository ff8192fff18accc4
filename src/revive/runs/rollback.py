"""Undo: a run's last batches, or one edit out of the middle."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from revive.errors import PrerequisiteError, SpecError
from revive.io.atomic import write_bytes
from revive.io.sealed import DamagedError
from revive.linalg.lowrank import LowRank
from revive.run_folder.contradictions import contradiction
from revive.run_folder.journal import Event, Journal, remains
from revive.run_folder.journal_witness import Witness, write_witness
from revive.run_folder.known_files import Known
from revive.run_folder.store import RunFolder
from revive.run_folder.summary import removed, standing
from revive.runs.identity import check_edits
from revive.runs.probing import make_probe
from revive.runs.rebuild import rebuild
from revive.runs.replay import BatchContents, standing_updates, stored_parts
from revive.runs.side_effects import GENERAL, EditRemoval, SideEffects, Told
from revive.spec.edit_stream import ordered, read_edits
from revive.wording import counted

SAMPLE = 200
"""Edits of other batches that are measured before and after one edit is taken out."""


@dataclass(frozen=True)
class Undone:
    """What a rollback did.

    Attributes:
        step: Committed batches now.
        removed: Ids of the edits that are gone.
        norm: Frobenius norm of what was taken out, summed over sites in squares.
        note: What a user should know.
        moved: What else moved, where that was measured.
    """

    step: int
    removed: tuple[str, ...]
    norm: float
    note: str
    moved: EditRemoval | None = None


def rollback_to(folder: Path, step: int) -> Undone:
    """Forget every batch after `step`. The journal keeps the record; `resume` goes on from there.

    Where the journal is damaged behind that batch, what is left of it goes on.

    Raises:
        SpecError: Not a run folder, or no such step.
    """
    run = RunFolder.open(folder, damaged=True)
    remains(run.journal)  # one of a newer version is left alone
    with run.lock():
        lost = _cut_to_what_is_left(run, step)
        journal = run.open_journal()
        committed = journal.committed_step()
        if not 0 <= step <= committed:
            raise SpecError(
                f"--to: the run has {counted(committed, 'committed batch')}; give 0 to {committed}."
            )
        history = standing(journal.events())
        gone = [e for e in history if e["event"] == "batch" and e["step"] > step]
        contents = BatchContents.of(journal.events())
        # The journal's line is the commit; files beyond it are leftovers from then on.
        journal.append("rollback", step, to=step)
        norm, unread = _norm(run, contents, [e["step"] for e in gone])
        run.drop_after(step)
    before = removed(history)
    taken = tuple(i for e in gone for i in e["edits"] if i in e["made"] and i not in before)
    again = f"{lost}{unread}'revive resume {folder}' makes the batches again."
    return Undone(step, taken, norm, again)


def _norm(run: RunFolder, contents: BatchContents, steps: Sequence[int]) -> tuple[float, str]:
    """Norm of what batches wrote, and what of it is not known: damage may be why they go."""
    squares, unread = 0.0, ""
    for step in steps:
        try:
            squares += _square(standing_updates(run, contents, step))
        except DamagedError as error:
            unread = (
                f"The norm leaves out what could not be read ({error.path.name} {error.what}). "
            )
    return squares**0.5, unread


def _cut_to_what_is_left(run: RunFolder, step: int) -> str:
    """Cut a damaged journal behind its last good line, if what is asked for is before that.

    The damaged one is kept beside it.

    Returns:
        What a user should know; empty where nothing is damaged.

    Raises:
        DamagedError: What is left of the journal does not reach that batch.
    """
    left = remains(run.journal)
    found = left.damage
    if found is None:
        unexplained = contradiction(run.path, left.events)
        if not unexplained:
            return ""
        found = DamagedError(run.journal, unexplained)
    reached = max(Known.of(left.events).updates, default=0)
    if not left.events or step > reached:
        raise found
    aside = run.path / "journal.damaged.jsonl"
    if run.journal.exists():
        write_bytes(aside, run.journal.read_bytes())
    write_witness(run.journal, Witness(len(left.content), left.sum))
    write_bytes(run.journal, left.content)
    return (
        f"The journal was damaged ({found.what}): what its lines after batch {reached} said, "
        f"edits taken out since included, is lost; the damaged file is kept as {aside.name}. "
    )


def rollback_edit(
    folder: Path,
    edit_id: str,
    *,
    measure: bool = True,
    sample: int = SAMPLE,
    told: Told | None = None,
    trust_code: bool = False,
) -> Undone:
    """Take one edit's contribution out of its batch, and say what else moved.

    Stored updates know which edit each of their columns belongs to, so its part of every weight is
    removed exactly.
    What it did not write is not undone: later batches were computed on a model that held it, and
    its key stays in the history of editors that keep one.

    Args:
        folder: The run folder.
        edit_id: Which edit.
        measure: Load the model and measure it with the edit and without; the result goes to the
            journal too.
        sample: Measure at most so many edits of other batches.
        told: Called with what is being measured.
        trust_code: Whether code that comes with the model may run, if the spec asks for it.

    Raises:
        SpecError: Not a run folder, no such edit, or model or edits are not there to measure with;
            nothing was taken out.
    """
    run = RunFolder.open(folder)
    with run.lock():
        journal = run.open_journal()
        history = standing(journal.events())
        events = [e for e in history if e["event"] == "batch"]
        holding = [e for e in events if edit_id in e["made"]]
        gone = removed(history)
        if not holding or edit_id in gone:
            raise SpecError(_unknown(edit_id, events, gone))
        batch, *repairs = holding
        step, last = batch["step"], journal.committed_step()
        known = Known.of(journal.events())
        parts = _parts(run, known, batch, edit_id)
        for again in repairs:
            for key, part in _parts(run, known, again, edit_id).items():
                parts[key] = parts[key] + part
        moved = None
        if measure:
            try:
                effects = _side_effects(
                    run,
                    journal,
                    events,
                    edit_id,
                    sample,
                    told,
                    trust_code=trust_code,
                )
            except (SpecError, PrerequisiteError) as error:
                raise type(error)(
                    f"{error} Nothing was taken out; --no-measure does it without a look at the "
                    "model."
                ) from error
            moved = effects.take_out(parts)
        found: dict[str, Any] = {} if moved is None else {"moved": moved.as_dict()}
        if repairs:
            found["repairs"] = [e["step"] for e in repairs]
        journal.append("rollback", last, edit=edit_id, batch=step, **found)
        # From that line on they do not count, whether they are still there or not.
        run.drop_checkpoints_from(step)
    note = _of_its_fact(history, edit_id) + _note(batch, last - step, measure)
    return Undone(last, (edit_id,), _square(parts) ** 0.5, note, moved)


def _unknown(edit_id: str, events: Sequence[Mapping[str, Any]], gone: frozenset[str]) -> str:
    held = [*dict.fromkeys(i for e in events for i in e["made"] if i not in gone)]
    more = f" and {len(held) - 3:,} more" if len(held) > 3 else ""
    some = f": {', '.join(held[:3])}{more}" if held else ""
    taken = "; it was taken out before" if edit_id in gone else ""
    return (
        f"--edit: no edit {edit_id!r} is in the model of this run{taken}. It holds "
        f"{counted(len(held), 'edit')}{some}. Without an id in its file an edit is called edit-N, "
        "N its number there."
    )


def _parts(
    run: RunFolder, known: Known, batch: Mapping[str, Any], edit_id: str
) -> dict[str, LowRank]:
    """What one edit wrote into every weight."""
    number = batch["made"].index(edit_id)
    tensors = run.load_update(batch["step"], known=known)
    updates, owners_of = stored_parts(run, batch["step"], tensors)
    parts: dict[str, LowRank] = {}
    for key, factors in updates.items():
        owners = owners_of.get(key)
        if owners is None:
            raise SpecError(
                f"--edit: the update of {key} is no sum of one part per edit; use --to instead."
            )
        columns = [c for c, owner in enumerate(owners) if owner == number]
        parts[key] = LowRank(factors.left[:, columns], factors.right[columns])
    return parts


def _side_effects(
    run: RunFolder,
    journal: Journal,
    events: Sequence[Mapping[str, Any]],
    edit_id: str,
    sample: int,
    told: Told | None,
    *,
    trust_code: bool,
) -> SideEffects:
    """The run's model and the edits in it, ready to be measured."""
    rebuilt = rebuild(run.path, trust_code=trust_code)
    stream = read_edits(rebuilt.spec)
    history: list[Event] = journal.events()
    check_edits(run, history, stream)
    made = ordered(rebuilt.spec, stream)
    by_id = {edit.id: edit for edit in made.edits}
    stands = {
        edit.id for edit in made.standing(made.count(journal.committed_step()), removed(history))
    } - {edit_id}
    mates: dict[str, None] = {}
    others: dict[str, None] = {}
    for event in events:
        (mates if edit_id in event["made"] else others).update(dict.fromkeys(event["made"]))
    return SideEffects(
        rebuilt.spec,
        rebuilt.loaded,
        rebuilt.ledger,
        removed=by_id[edit_id],
        batch=[by_id[i] for i in mates if i in stands],
        others=[by_id[i] for i in others if i in stands and i not in mates],
        probes=[make_probe(p) for p in rebuilt.spec.probes if p.name in GENERAL],
        sample=sample,
        told=told or (lambda _text: None),
    )


def _note(batch: Mapping[str, Any], later: int, measured: bool) -> str:
    """What a user should know of an edit that was taken out."""
    mates = len(batch["made"]) - 1
    look = "" if measured else " Measure again with 'revive evaluate'."
    return (
        f"Its batch wrote {counted(mates, 'other edit')} with it, solved together: their outputs "
        f"on keys like this one's move too; {counted(later, 'later batch')} "
        f"{'was' if later == 1 else 'were'} computed on a model that held it.{look}"
    )


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
