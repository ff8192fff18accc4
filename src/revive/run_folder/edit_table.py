"""The table of a run's edits, read from its folder: what each was, and what became of it. No torch.

`edits.json` is written when a run ends (`runs/final_answers.py`). Of a run that is not over, or
that an older version made, what the journal and the measurements say of single edits is told.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from revive.errors import SpecError
from revive.io.atomic import write_text
from revive.io.json_text import read_json, to_json
from revive.io.signed_json import CHECKSUM, signed, unsigned
from revive.metrics.per_edit import EditRow, EditTable, rows_of, scored_row, to_csv
from revive.run_folder.journal import Journal
from revive.run_folder.known_files import Known
from revive.run_folder.reasons import explained, known_reasons
from revive.run_folder.store import RunFolder
from revive.run_folder.summary import removed, standing
from revive.wording import counted

if TYPE_CHECKING:
    from revive.metrics.outcomes import Outcomes

SCHEMA = 1

Events = Sequence[Mapping[str, Any]]


def write_table(folder: RunFolder, table: EditTable, step: int, gone: Sequence[str]) -> str:
    """Store the table of a run that has come to an end, and the same for people, as CSV.

    Args:
        folder: The run.
        table: Of its edits.
        step: Committed batches.
        gone: Ids of edits that are out of the model.

    Returns:
        The table's checksum, for the journal.

    Raises:
        PrerequisiteError: The disk is full.
    """
    content = {"schema": SCHEMA, "step": step, "removed": sorted(gone), **table.plain()}
    whole = signed(content)
    folder.check_writer()
    write_text(folder.edits, to_json(whole, indent=1) + "\n")
    write_text(folder.edits_csv, to_csv([("", row) for row in table.rows]))
    return whole[CHECKSUM]


def read_table(path: Path) -> EditTable:
    """The table of a run's edits.

    Args:
        path: The run folder.

    Raises:
        SpecError: Not a run folder, or a file of it is damaged.
    """
    folder = RunFolder(path)
    events = Journal.read(folder.journal)
    stored = _stored(folder, Known.of(events).table)
    if stored is None:
        return _measured(folder, events)
    reasons = known_reasons(events)
    now, then = removed(events), frozenset(stored.removed)
    rows = tuple(
        explained(_without_answer(row), reasons[row.id]) if row.id in now - then else row
        for row in stored.table.rows
    )
    note = stored.table.note
    if now != then:
        gone = counted(len(now ^ then), "edit")
        note = f"Answers are as they were before {gone} went out; 'revive resume' asks again."
    return EditTable(rows, stored.table.edits - len(now - then), note)


@dataclass(frozen=True)
class _Stored:
    table: EditTable
    removed: tuple[str, ...]


def _stored(folder: RunFolder, checksum: str | None) -> _Stored | None:
    if not folder.edits.is_file():
        return None
    try:
        value: object = read_json(folder.edits.read_text(encoding="utf-8"))
        fields, whole = unsigned(cast("dict[str, Any]", value))
        if not whole:
            raise ValueError("its checksum does not fit")
        if checksum is not None and checksum != cast("dict[str, Any]", value).get(CHECKSUM):
            raise ValueError("it is of another state of the run than the journal")
        table = EditTable(rows_of(fields["rows"]), int(fields["edits"]), str(fields["note"]))
        return _Stored(table, tuple(fields["removed"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise SpecError(f"{folder.edits}: is damaged ({error}); restore or delete it.") from error


def _without_answer(row: EditRow) -> EditRow:
    return replace(
        row, now=None, reached=None, preferred=None, paraphrases_reached=None, cause="", reason=""
    )


def _measured(folder: RunFolder, events: Events) -> EditTable:
    """What can be said without the texts: ids, whether they answer, and reasons."""
    outcomes = last_outcomes(folder, events)
    reasons = known_reasons(events)
    rows = (
        []
        if outcomes is None
        else [scored_row(EditRow(edit), outcomes, place) for place, edit in enumerate(outcomes.ids)]
    )
    seen = {row.id for row in rows}
    rows += [
        EditRow(edit)
        for edit, why in reasons.items()
        if edit not in seen and why[0].cause in ("failed", "removed")
    ]
    history = standing(events)
    batches = [e for e in history if e["event"] == "batch"]
    over = any(e["event"] == "finish" for e in history)
    superseded = sum(len(e.get("supersedes", {})) for e in batches)
    stand = sum(len(e["edits"]) for e in batches) - superseded - len(removed(events))
    note = (
        "An older version made this run: what the model said was not kept."
        if over
        else "The run is not over: what the model says is asked at its end ('revive resume')."
    )
    told = (explained(row, reasons.get(row.id, ())) for row in rows)
    return EditTable(tuple(told), stand, note)


def last_outcomes(folder: RunFolder, events: Events, probe: str = "edits") -> "Outcomes | None":
    """What the last measurement that stands found edit by edit; None where that was not kept."""
    steps = [
        event["step"]
        for event in standing(events)
        if event["event"] == "measure" and event["step"] > 0 and probe in event.get("probes", ())
    ]
    return folder.load_outcomes(steps[-1], probe, Known.of(events)) if steps else None
