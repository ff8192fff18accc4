"""Which items are taken when not all are wanted: the same ones for the same seed."""

import random
from collections import defaultdict
from collections.abc import Sequence

from revive.tasks.item import Item


def choose(items: Sequence[Item], limit: int | None, seed: int) -> list[Item]:
    """Some of the items, in their order, spread evenly over their groups.

    The choice for a smaller limit is a part of that for a larger one.

    Args:
        items: All items.
        limit: How many; None for all.
        seed: Which ones.
    """
    if limit is None or limit >= len(items):
        return list(items)
    groups: dict[str, list[int]] = defaultdict(list)
    for index, item in enumerate(items):
        groups[item.group].append(index)
    order = sorted(groups)
    random.Random(f"groups {seed}").shuffle(order)
    for name in order:
        random.Random(f"items {seed} {name}").shuffle(groups[name])
    taken: list[int] = []
    turn = 0
    while len(taken) < limit:
        taken += [groups[name][turn] for name in order if turn < len(groups[name])]
        turn += 1
    return [items[index] for index in sorted(taken[:limit])]
