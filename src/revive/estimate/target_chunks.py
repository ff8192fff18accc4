"""How a batch is divided for target solving. No torch: the estimate of memory asks it too."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

CHUNK = 8192
"""Row tokens that are solved together at most, unless told otherwise."""

# What a step of one more chunk costs, in padded tokens: small products are slow, and calls take
# time. Of 16 to 256 on a CPU, 64 and 128 took a thread the least time, for GPT-2 and the lab model.
# For accelerators, where calls weigh more, it is a guess.
_CPU_STEP, _STEP = 64, 256


@dataclass(frozen=True, slots=True)
class Size:
    """What solving an edit takes.

    Attributes:
        suffix: Tokens of its longest row from the subject's last on: these run at every step.
        rows: How many rows it has.
        tokens: Of its whole rows.
    """

    suffix: int
    rows: int
    tokens: float


def step_on(device: str) -> int:
    """What a step of one more chunk costs on a kind of device (`cpu`, `cuda`), in padded tokens."""
    return _CPU_STEP if device == "cpu" else _STEP


def split_batch(sizes: Sequence[Size], limit: int, step: int) -> list[list[int]]:
    """Indices of edits to be solved together, those of like length side by side.

    Every step pads the suffixes of a chunk to the longest. Few chunks pad much, many run small
    products; this is the division, in order of length, whose steps cost least.

    Args:
        sizes: One per edit.
        limit: Most row tokens of a chunk, unless a single edit has more.
        step: What a step of one more chunk costs, in padded tokens.
    """
    order = sorted(range(len(sizes)), key=lambda i: (sizes[i].suffix, sizes[i].tokens, i))
    # Of the first so many: the least cost, and where the last chunk begins.
    best: list[tuple[float, int]] = [(0.0, 0)]
    for stop in range(1, len(order) + 1):
        longest = sizes[order[stop - 1]].suffix
        found, tokens, count = (math.inf, 0), 0.0, 0
        for start in range(stop - 1, -1, -1):
            tokens += sizes[order[start]].tokens
            count += sizes[order[start]].rows
            if tokens > limit and start < stop - 1:
                break
            found = min(found, (best[start][0] + count * longest + step, start))
        best.append(found)
    chunks: list[list[int]] = []
    stop = len(order)
    while stop:
        start = best[stop][1]
        chunks.append(order[start:stop])
        stop = start
    return chunks[::-1]
