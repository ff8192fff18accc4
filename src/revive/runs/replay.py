"""Bring a model to where a run's journal ends: checkpoint, then stored updates, in order."""

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from revive.engine.engine import STATE, Engine, stored_columns, stored_updates
from revive.io.sealed import DamagedError
from revive.linalg.lowrank import LowRank
from revive.models.ledger import Ledger
from revive.run_folder.journal import Journal
from revive.run_folder.known_files import Event, Known
from revive.run_folder.store import RunFolder
from revive.run_folder.summary import standing

_LOG = logging.getLogger(__name__)

UNVERIFIABLE = (
    "was made by an older version, which kept no checksums; its files are taken as they are"
)


def restore(folder: RunFolder, journal: Journal, engine: Engine) -> int:
    """Bring a freshly built engine to the last committed batch; nothing is computed again.

    Returns:
        The step that was reached.
    """
    events = journal.events()
    step = restore_ledger(folder, events, engine.ledger)
    known = Known.of(events)
    for number in range(1, step + 1):
        engine.advance(folder.load_update(number, STATE, known))
    return step


def restore_ledger(
    folder: RunFolder, events: Sequence[Event], ledger: Ledger, to: int | None = None
) -> int:
    """Bring a fresh ledger, and with it the model, to a batch.

    A checkpoint that is damaged, or not the one that the journal speaks of, is told of and passed
    over: an earlier one and the updates behind it give the same sums.

    Args:
        folder: The run.
        events: Its journal's.
        ledger: Of the unedited model.
        to: Stop after this batch; the last committed one if None.

    Returns:
        The step that was reached.

    Raises:
        DamagedError: An update that is needed is missing, damaged or another one.
    """
    known = Known.of(events)
    if not known.verifiable:
        _LOG.warning("%s: %s", folder.path, UNVERIFIABLE)
    step = max(known.updates, default=0) if to is None else to
    base, state = _checkpoint(folder, known, step)
    contents = BatchContents.of(events)
    if base:
        ledger.load_state_dict(state)
    for number in range(base + 1, step + 1):
        for key, factors in standing_updates(folder, contents, number).items():
            ledger.commit(key, factors)
    return step


def _checkpoint(folder: RunFolder, known: Known, step: int) -> tuple[int, dict[str, Tensor]]:
    """The newest good state at or before a batch; batch 0 and nothing if there is none."""
    counting = [s for s in folder.checkpoints() if s in known.checkpoints and 0 < s <= step]
    for base in reversed(counting):
        try:
            state = folder.load_checkpoint(base, known)
            if all(bool(torch.isfinite(total).all()) for total in state.values()):
                return base, state
            raise DamagedError(folder.checkpoint_path(base), "holds NaN or infinity")
        except DamagedError as error:
            _LOG.warning("%s: %s; its sums are taken from the updates", error.path, error.what)
    return 0, {}


@dataclass(frozen=True)
class BatchContents:
    """What a journal says of its batches that stand, read once for all of them.

    Attributes:
        made: By step, ids of the edits that the batch made.
        removed: By step, ids of those that were taken out later.
        known: The files that hold them.
    """

    made: Mapping[int, Sequence[str]]
    removed: Mapping[int, Collection[str]]
    known: Known

    @classmethod
    def of(cls, events: Sequence[Event]) -> "BatchContents":
        """Read a journal's events."""
        made: dict[int, Sequence[str]] = {}
        removed: dict[int, set[str]] = {}
        for event in standing(events):
            if event["event"] == "batch":
                made[event["step"]] = event["made"]
            elif event.get("edit"):
                for batch in (event["batch"], *event.get("repairs", ())):
                    removed.setdefault(batch, set()).add(event["edit"])
        return cls(made, removed, Known.of(events))


def stored_parts(
    folder: RunFolder, step: int, tensors: Mapping[str, Tensor]
) -> tuple[dict[str, LowRank], dict[str, list[int]]]:
    """A stored batch's factors, and the made edit of each of their columns, by parameter name.

    Raises:
        DamagedError: They do not belong together; only files without checksums come so far.
    """
    try:
        updates, columns = stored_updates(tensors), stored_columns(tensors)
    except (KeyError, ValueError, RuntimeError) as error:
        raise DamagedError(folder.update_path(step), f"is damaged ({error})") from error
    for key, factors in updates.items():
        fits = factors.left.dtype == factors.right.dtype and factors.left.is_floating_point()
        if not fits or len(columns.get(key, [0] * factors.rank)) != factors.rank:
            what = f"is damaged (the factors of {key} do not fit)"
            raise DamagedError(folder.update_path(step), what)
    return updates, columns


def standing_updates(folder: RunFolder, contents: BatchContents, step: int) -> dict[str, LowRank]:
    """What a batch wrote, by parameter name, without the edits that were taken out later.

    Stored updates are never rewritten: the journal alone says which columns still count.
    """
    tensors = folder.load_update(step, known=contents.known)
    updates, columns = stored_parts(folder, step, tensors)
    # A repair that was rolled back is not made again where its edit was taken out.
    made = contents.made[step]
    gone = {made.index(edit) for edit in contents.removed.get(step, ()) if edit in made}
    for key, factors in updates.items() if gone else ():
        left = factors.left.clone()
        left[:, [c for c, owner in enumerate(columns[key]) if owner in gone]] = 0
        updates[key] = LowRank(left, factors.right)
    return updates
