"""Files of a run that its journal cannot explain: told, never passed over.

A run that was killed has a file too many at most: the update of a batch whose line was not written.
A rollback that was killed has those of batches that the journal once had. Anything else says that
the journal is not the one that was written.
"""

from collections.abc import Sequence
from pathlib import Path

from revive.io.sealed import DamagedError
from revive.run_folder.known_files import Event, Known, number_of, numbers_in

_RESULTS = ("summary.json", "edits.json", "edits.csv")
_REMEDY = (
    "restore it from a copy, or go on from what is left with 'revive rollback RUN --to STEP'; "
    "nothing was changed"
)


def check_files(folder: Path, events: Sequence[Event]) -> None:
    """Refuse a folder whose files say that its journal once said more.

    Args:
        folder: The run folder.
        events: Its journal's.

    Raises:
        DamagedError: Says which files.
    """
    found = contradiction(folder, events)
    if found:
        raise DamagedError(folder / "journal.jsonl", found, _REMEDY)


def contradiction(folder: Path, events: Sequence[Event]) -> str:
    """What a journal cannot explain, as the end of a sentence about it; empty if nothing."""
    known = Known.of(events)
    step = max(known.updates, default=0)
    # A batch's update is there before its line.
    may = {"updates": max(known.largest, step + 1), "checkpoints": known.largest}
    for name, highest in may.items():
        beyond = [n for n in numbers_in(folder / name) if n > highest]
        if beyond:
            return _told(events, f"{name}/ has that of batch {beyond[-1]}", known.largest)
    measured = (number_of(p.name.partition(".")[0]) for p in (folder / "measures").glob("*.*.*"))
    if any(n is not None and n > known.largest for n in measured):
        return _told(events, "measures/ has later measurements", known.largest)
    if not events:
        for name in ("journal.head", *_RESULTS):
            if (folder / name).exists():
                return _told(events, f"{name} is there", 0)
        if numbers_in(folder / "updates"):
            return _told(events, "updates/ has that of batch 1", 0)
    return ""


def _told(events: Sequence[Event], what: str, largest: int) -> str:
    if not events:
        return f"is missing, empty or unreadable, but {what}"
    return f"knows of no batch after {largest}, but {what}"
