"""How many edits a model still answers once its edited weights are written in another form."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from revive.errors import SpecError
from revive.export.questions import questions, reached_before, reached_by
from revive.models.family import write_weight
from revive.runs.rebuild import RebuiltModel
from revive.wording import counted


@dataclass(frozen=True, slots=True)
class KeptEdits:
    """Edits asked before and after.

    Attributes:
        stand: Edits in the model.
        asked: Those that were asked.
        before: How many answered before.
        reached: How many answer in the form that was written.
    """

    stand: int
    asked: int
    before: int
    reached: int

    def told(self) -> str:
        """As a sentence."""
        drawn = "" if self.asked == self.stand else f", drawn from {self.stand:,},"
        return (
            f"{self.reached:,} of {counted(self.asked, 'edit')}{drawn} answer with the new target "
            f"in what was written, {self.before:,} before."
        )


def kept_edits(
    folder: Path, rebuilt: RebuiltModel, weights: Mapping[str, Tensor]
) -> tuple[KeptEdits | None, str]:
    """Ask the model with other weights in its edited places.

    Args:
        folder: The run folder.
        rebuilt: Its model; it is as before afterwards.
        weights: By key, `[d_out, d_in]`, as they are read from what was written.

    Returns:
        What was found and the same in words; None and the reason where the edits are not there.
    """
    try:
        asked = questions(folder, rebuilt)
    except SpecError as error:
        return None, f"The edits were not asked for again: {error}"
    ledger, model = rebuilt.ledger, rebuilt.loaded.model
    before = reached_before(folder, rebuilt, asked)
    try:
        for key, weight in weights.items():
            write_weight(model, ledger.sites[key], weight)
        reached = reached_by(rebuilt.loaded, asked, rebuilt.spec.model.precision)
    finally:
        for key in weights:
            write_weight(model, ledger.sites[key], ledger.weight(key))
    found = KeptEdits(asked.stand, len(asked.edits), before, reached)
    return found, found.told()
