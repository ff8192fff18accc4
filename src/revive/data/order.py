"""In which order edits are made, and in which batches.

Order matters: edits of one relation in a row collapse some editors where a shuffled stream does
not. It is therefore part of the spec, with its seed.

Where a stream edits a fact more than once (`on_conflict: sequence`), no order changes which of its
edits is the latest, and no batch holds two of them: solved together, they would contradict.
"""

import random
from collections import OrderedDict, defaultdict, deque
from collections.abc import Sequence
from itertools import islice
from typing import Literal, get_args

from revive.data.edits import Edit
from revive.data.latest_edits import Fact, fact_of
from revive.errors import SpecError
from revive.registry import did_you_mean

Order = Literal["file", "random", "clustered"]

ORDERS: tuple[Order, ...] = get_args(Order)


def order_edits(edits: Sequence[Edit], order: Order, seed: int = 0) -> tuple[Edit, ...]:
    """Put edits in order; those of one fact keep theirs among the places they get.

    Args:
        edits: As they stand in the file.
        order: `file` keeps them; `random` shuffles; `clustered` puts edits of one relation, or of
            one subject where no relation is known, in a row, the clusters in random order.
        seed: Same seed, same order, on every machine.

    Raises:
        SpecError: The order is unknown.
    """
    rng = random.Random(f"{order} {seed}")
    if order == "file":
        return tuple(edits)
    if order == "random":
        return _in_time(rng.sample(edits, len(edits)), edits)
    if order != "clustered":
        raise SpecError(
            f"edits.order: unknown order {order!r}.{did_you_mean(order, ORDERS)} "
            f"Known: {', '.join(ORDERS)}."
        )
    clusters: dict[str, list[Edit]] = defaultdict(list)
    for edit in edits:
        clusters[edit.relation or edit.subject].append(edit)
    drawn = rng.sample(list(clusters.values()), len(clusters))
    return _in_time([edit for cluster in drawn for edit in cluster], edits)


def batches(edits: Sequence[Edit], size: int) -> tuple[tuple[Edit, ...], ...]:
    """Cut a stream into batches.

    An edit whose fact is in the batch already waits for the next one, and later edits of the fact
    wait behind it. Batches are full while there are other facts to fill them with: of a stream that
    edits no fact twice, all but the last.

    Raises:
        SpecError: The size is less than one.
    """
    if size < 1:
        raise SpecError(f"edits.batch_size: must be at least 1, got {size}.")
    coming = iter(edits)
    waiting: OrderedDict[Fact, deque[Edit]] = OrderedDict()
    cut: list[tuple[Edit, ...]] = []
    while True:
        batch = {fact: waiting[fact].popleft() for fact in list(islice(waiting, size))}
        for fact in batch:
            waiting.move_to_end(fact)
            if not waiting[fact]:
                del waiting[fact]
        while len(batch) < size and (edit := next(coming, None)) is not None:
            fact = fact_of(edit)
            if fact in batch or fact in waiting:
                waiting.setdefault(fact, deque()).append(edit)
            else:
                batch[fact] = edit
        if not batch:
            return tuple(cut)
        cut.append(tuple(batch.values()))


def _in_time(drawn: Sequence[Edit], edits: Sequence[Edit]) -> tuple[Edit, ...]:
    """Drawn edits, with those of one fact swapped until they follow each other as in the file."""
    queues: dict[Fact, deque[Edit]] = defaultdict(deque)
    for edit in edits:
        queues[fact_of(edit)].append(edit)
    return tuple(queues[fact_of(edit)].popleft() for edit in drawn)
