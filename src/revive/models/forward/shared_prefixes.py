"""What rows of tokens begin with, so that it need be run only once.

Of all ways to give every row one beginning or none, the one that saves most tokens: rows are a tree
of what they share, and every branch of it is a beginning or is not.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

_LEAST = 4  # tokens; a shorter beginning is not worth its row


@dataclass(frozen=True)
class SharedPrefixes:
    """What rows begin with.

    Attributes:
        texts: Token ids that several rows begin with.
        of: For every row, which one it begins with; -1 for none.
    """

    texts: tuple[tuple[int, ...], ...]
    of: tuple[int, ...]


def shared_prefixes(rows: Sequence[tuple[int, ...]], limits: Sequence[int]) -> SharedPrefixes:
    """Of all ways to give every row one beginning or none, one that saves most tokens.

    A row of a beginning saves its length; the beginning itself costs it once.

    Args:
        rows: Token ids.
        limits: Of each row, how many tokens its beginning may have at most.
    """
    heads = [row[:limit] for row, limit in zip(rows, limits, strict=True)]
    order = sorted(range(len(rows)), key=heads.__getitem__)
    texts: list[tuple[int, ...]] = []
    of = [-1] * len(rows)

    def give(branch: _Branch, above: int, longest: int) -> None:
        if best[id(branch), above][1]:
            above, longest = branch.length, len(texts)
            texts.append(heads[branch.rows[0]][: branch.length])
        for row in branch.ends:
            of[row] = longest
        for part in branch.parts:
            give(part, above, longest)

    if order:
        tree = _grown(order, heads)
        best: dict[tuple[int, int], tuple[int, bool]] = {}
        _weigh(tree, 0, best)
        give(tree, 0, -1)
    return SharedPrefixes(tuple(texts), tuple(of))


@dataclass(frozen=True)
class _Branch:
    """Rows that agree up to `length`; some end there, others go on, in parts that agree longer."""

    rows: tuple[int, ...]
    length: int
    ends: tuple[int, ...]
    parts: "tuple[_Branch, ...]"


def _grown(rows: Sequence[int], heads: Sequence[tuple[int, ...]]) -> _Branch:
    """The tree of some rows, which are in the order of their heads."""
    # Sorted, the first and the last differ the earliest.
    first, last = heads[rows[0]], heads[rows[-1]]
    alike = (i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b)
    length = next(alike, min(len(first), len(last)))
    ends = tuple(i for i in rows if len(heads[i]) == length)
    parts = groupby((i for i in rows if len(heads[i]) > length), lambda i: heads[i][length])
    return _Branch(tuple(rows), length, ends, tuple(_grown(list(g), heads) for _, g in parts))


def _weigh(branch: _Branch, above: int, best: dict[tuple[int, int], tuple[int, bool]]) -> int:
    """Tokens that rows save at most where they have a beginning of length `above` already.

    Every row takes the longest of those that are made; `best` tells whether this one is.
    """
    if (id(branch), above) not in best:

        def saved(length: int) -> int:
            return length * len(branch.ends) + sum(_weigh(p, length, best) for p in branch.parts)

        without, made = saved(above), 0
        if len(branch.rows) > 1 and branch.length >= _LEAST:
            made = saved(branch.length) - branch.length
        best[id(branch), above] = max(without, made), made > without
    return best[id(branch), above][0]
