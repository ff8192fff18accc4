"""Edits of a run that could not be made, and what that means for the run."""

from dataclasses import dataclass
from pathlib import Path

from revive.editors.base import NOT_FINITE
from revive.errors import NumericalError, SpecError
from revive.run_folder.journal import Journal
from revive.run_folder.store import RunFolder
from revive.run_folder.summary import standing


@dataclass(frozen=True, slots=True)
class EditFailure:
    """An edit that could not be made."""

    id: str
    reason: str


def check_made(folder: Path) -> str | None:
    """What to tell a user about edits that could not be made; None if there are none.

    Raises:
        SpecError: Not one edit of the run could be made, because of its text.
        NumericalError: Not one could be made, because the model's numbers are not finite.
    """
    events = standing(Journal.read(RunFolder.open(folder).journal))
    batches = [e for e in events if e["event"] == "batch"]
    failed = [EditFailure(f["id"], f["reason"]) for e in batches for f in e["failed"]]
    if not failed:
        return None
    made = len({i for e in batches for i in e["made"]})
    first = failed[0]
    if made:
        return (
            f"{len(failed)} of {made + len(failed)} edits could not be made, the first is "
            f"{first.id}: {first.reason.rstrip('.')}. {folder}/journal.jsonl lists them all."
        )
    if any(f.reason == NOT_FINITE for f in failed):
        raise NumericalError(
            f"{folder}: no edit could be made, the first is {first.id}: {first.reason}. Load an "
            "intact checkpoint, or another model.dtype."
        )
    raise SpecError(f"{folder}: no edit could be made, the first is {first.id}: {first.reason}")
