"""A run's edits in the order in which they are made, batch by batch."""

import itertools
from collections.abc import Collection, Mapping, Sequence

from revive.data.edits import Edit
from revive.data.latest_edits import latest_edits, predecessors
from revive.data.order import Order, batches, order_edits


class Stream:
    """Ordered edits in batches; no batch holds two edits of one fact.

    Attributes:
        batches: The edits of every batch.
        edits: All of them, in order.
        supersedes: By id of an edit, the id of the earlier edit of its fact, where there is one.
    """

    def __init__(self, edits: Sequence[Edit], order: Order, seed: int, size: int) -> None:
        """Order edits and cut them into batches.

        Raises:
            SpecError: The order is unknown, or the size less than one.
        """
        self.batches = batches(order_edits(edits, order, seed), size)
        self.edits = tuple(itertools.chain.from_iterable(self.batches))
        self.supersedes: Mapping[str, str] = predecessors(self.edits)
        self._ends = (0, *itertools.accumulate(len(batch) for batch in self.batches))

    def __len__(self) -> int:
        """Number of edits."""
        return len(self.edits)

    def count(self, step: int) -> int:
        """Number of edits in the first `step` batches; batches of repairs alone add none."""
        return self._ends[min(step, len(self.batches))]

    def standing(self, count: int, removed: Collection[str] = ()) -> tuple[Edit, ...]:
        """Of the first `count` edits those that no later one of them supersedes.

        Args:
            count: How many edits.
            removed: Ids of edits that were taken out: what they superseded stands again.
        """
        made = self.edits[:count]
        return latest_edits([e for e in made if e.id not in removed] if removed else made)
