"""Token sequences as forests: a prefix that several share is there once.

A row of nodes in depth-first order is run as one sequence in which a token sees itself and its
ancestors alone, at its depth as position. Each token then has the context that its own sequence
gives it, so that what a causal model computes for it is the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class TreeRow:
    """Nodes in depth-first order.

    Attributes:
        tokens: Token of each node.
        depths: Number of its ancestors.
        lasts: Index of its last descendant, its own if it has none.
    """

    tokens: tuple[int, ...]
    depths: tuple[int, ...]
    lasts: tuple[int, ...]


@dataclass(frozen=True)
class Place:
    """Where a sequence lies: its row, and the node of each of its tokens."""

    row: int
    nodes: tuple[int, ...]


@dataclass(frozen=True)
class Forest:
    """Rows, and the place of every sequence, in the order in which they were given."""

    rows: tuple[TreeRow, ...]
    places: tuple[Place, ...]


def grow(sequences: Sequence[tuple[int, ...]], capacity: int) -> Forest:
    """Lay sequences into rows of at most `capacity` nodes.

    Sorted, sequences that share a prefix stand beside each other; a new row begins where the next
    one does not fit, and repeats what it shares with those before.

    Args:
        sequences: Not empty, none longer than `capacity`.
        capacity: Nodes in a row.
    """
    rows: list[TreeRow] = []
    places: dict[int, Place] = {}
    tokens: list[int] = []
    depths: list[int] = []
    path: tuple[int, ...] = ()
    before: tuple[int, ...] = ()
    for index in sorted(range(len(sequences)), key=sequences.__getitem__):
        sequence = sequences[index]
        shared = _shared(before, sequence)
        if len(tokens) + len(sequence) - shared > capacity:
            rows.append(_close(tokens, depths))
            tokens, depths, path, shared = [], [], (), 0
        first = len(tokens)
        path = (*path[:shared], *range(first, first + len(sequence) - shared))
        tokens += sequence[shared:]
        depths += range(shared, len(sequence))
        places[index] = Place(len(rows), path)
        before = sequence
    rows.append(_close(tokens, depths))
    return Forest(tuple(rows), tuple(places[i] for i in range(len(sequences))))


def visible(lasts: Tensor) -> Tensor:
    """Whether a node sees another: it is the other, or descends from it.

    Args:
        lasts: `[rows, length]` index of each node's last descendant.

    Returns:
        `[rows, length, length]`, the node that looks before the one that is looked at.
    """
    place = torch.arange(lasts.shape[1], device=lasts.device)
    looks, seen = place[None, :, None], place[None, None, :]
    return (seen <= looks) & (looks <= lasts[:, None, :])


def _shared(one: tuple[int, ...], other: tuple[int, ...]) -> int:
    count = 0
    for a, b in zip(one, other, strict=False):
        if a != b:
            break
        count += 1
    return count


def _close(tokens: Sequence[int], depths: Sequence[int]) -> TreeRow:
    lasts = [0] * len(depths)
    open_: list[int] = []
    for node, depth in enumerate(depths):
        while open_ and depths[open_[-1]] >= depth:
            lasts[open_.pop()] = node - 1
        open_.append(node)
    for node in open_:
        lasts[node] = len(depths) - 1
    return TreeRow(tuple(tokens), tuple(depths), tuple(lasts))
