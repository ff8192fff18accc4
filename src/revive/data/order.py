"""In which order edits are made, and in which batches.

Order matters: edits of one relation in a row collapse some editors where a shuffled stream does
not. It is therefore part of the spec, with its seed.
"""

import random
from collections import defaultdict
from collections.abc import Sequence
from typing import Literal, get_args

from revive.data.edits import Edit
from revive.errors import SpecError
from revive.registry import did_you_mean

Order = Literal["file", "random", "clustered"]

ORDERS: tuple[Order, ...] = get_args(Order)


def order_edits(edits: Sequence[Edit], order: Order, seed: int = 0) -> tuple[Edit, ...]:
    """Put edits in order.

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
        return tuple(rng.sample(edits, len(edits)))
    if order != "clustered":
        raise SpecError(
            f"edits.order: unknown order {order!r}.{did_you_mean(order, ORDERS)} "
            f"Known: {', '.join(ORDERS)}."
        )
    clusters: dict[str, list[Edit]] = defaultdict(list)
    for edit in edits:
        clusters[edit.relation or edit.subject].append(edit)
    drawn = rng.sample(list(clusters.values()), len(clusters))
    return tuple(edit for cluster in drawn for edit in cluster)


def batches(edits: Sequence[Edit], size: int) -> tuple[tuple[Edit, ...], ...]:
    """Cut a stream into batches; the last one may be smaller.

    Raises:
        SpecError: The size is less than one.
    """
    if size < 1:
        raise SpecError(f"edits.batch_size: must be at least 1, got {size}.")
    return tuple(tuple(edits[i : i + size]) for i in range(0, len(edits), size))
