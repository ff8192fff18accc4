"""Bring a model to where a run's journal ends: checkpoint, then stored updates, in order."""

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
    for number in range(base + 1, step + 1):
        for key, factors in standing_updates(folder, journal, number).items():
            ledger.commit(key, factors)
    return step


def standing_updates(folder: RunFolder, journal: Journal, step: int) -> dict[str, LowRank]:
    """What a batch wrote, by parameter name, without the edits that were taken out later.

    Stored updates are never rewritten: the journal alone says which columns still count.
    """
    tensors = folder.load_update(step)
    updates, columns = stored_updates(tensors), stored_columns(tensors)
    events = standing(journal.events())
    made = next(e["made"] for e in events if e["event"] == "batch" and e["step"] == step)
    gone = {made.index(e["edit"]) for e in events if e.get("edit") and e["batch"] == step}
    for key, factors in updates.items() if gone else ():
        left = factors.left.clone()
        left[:, [c for c, owner in enumerate(columns[key]) if owner in gone]] = 0
        updates[key] = LowRank(left, factors.right)
    return updates
