"""Bring a model to where a run's journal ends: checkpoint, then stored updates, in order."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from revive.linalg.lowrank import LowRank
from revive.models.ledger import Ledger
from revive.runs.engine import STATE, Engine, stored_columns, stored_updates
from revive.runs.journal import Journal
from revive.runs.store import RunFolder
from revive.runs.summary import standing


def restore(folder: RunFolder, journal: Journal, engine: Engine) -> int:
    """Bring a freshly built engine to the last committed batch; nothing is computed again.

    Returns:
        The step that was reached.
    """
    step = restore_ledger(folder, journal, engine.ledger)
    for number in range(1, step + 1):
        engine.advance(folder.load_update(number, STATE))
    return step


def restore_ledger(
    folder: RunFolder, journal: Journal, ledger: Ledger, to: int | None = None
) -> int:
    """Bring a fresh ledger, and with it the model, to a batch.

    Args:
        folder: The run.
        journal: Its journal.
        ledger: Of the unedited model.
        to: Stop after this batch; the last committed one if None.

    Returns:
        The step that was reached.
    """
    step = journal.committed_step() if to is None else to
    base = max((s for s in folder.checkpoints() if s <= step), default=0)
    if base:
        ledger.load_state_dict(folder.load_checkpoint(base))
    contents = BatchContents.of(journal)
    for number in range(base + 1, step + 1):
        for key, factors in standing_updates(folder, contents, number).items():
            ledger.commit(key, factors)
    return step


@dataclass(frozen=True)
class BatchContents:
    """What a journal says of its batches that stand, read once for all of them.

    Attributes:
        made: By step, ids of the edits that the batch made.
        removed: By step, ids of those that were taken out later.
    """

    made: Mapping[int, Sequence[str]]
    removed: Mapping[int, Collection[str]]

    @classmethod
    def of(cls, journal: Journal) -> "BatchContents":
        """Read a journal."""
        made: dict[int, Sequence[str]] = {}
        removed: dict[int, set[str]] = {}
        for event in standing(journal.events()):
            if event["event"] == "batch":
                made[event["step"]] = event["made"]
            elif event.get("edit"):
                for batch in (event["batch"], *event.get("repairs", ())):
                    removed.setdefault(batch, set()).add(event["edit"])
        return cls(made, removed)


def standing_updates(folder: RunFolder, contents: BatchContents, step: int) -> dict[str, LowRank]:
    """What a batch wrote, by parameter name, without the edits that were taken out later.

    Stored updates are never rewritten: the journal alone says which columns still count.
    """
    tensors = folder.load_update(step)
    updates, columns = stored_updates(tensors), stored_columns(tensors)
    # A repair that was rolled back is not made again where its edit was taken out.
    made = contents.made[step]
    gone = {made.index(edit) for edit in contents.removed.get(step, ()) if edit in made}
    for key, factors in updates.items() if gone else ():
        left = factors.left.clone()
        left[:, [c for c, owner in enumerate(columns[key]) if owner in gone]] = 0
        updates[key] = LowRank(left, factors.right)
    return updates
