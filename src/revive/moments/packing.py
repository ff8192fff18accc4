"""Ordinary text in batches for a forward: rows of similar length side by side, little padding."""

import hashlib
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

# On a CPU what a block makes of more tokens outgrows the caches; elsewhere many tokens fill the
# device, and are worth the weights that come and go.
_CPU_TOKENS, _TOKENS = 1024, 4096
# A forward of its own costs about as much as this many tokens.
_WORTH_A_FORWARD = 256
_PADDING = 1 / 8

Batch = list[list[int]]


def tokens_for(device: torch.device) -> int:
    """How many tokens a forward does best, padding included."""
    return _CPU_TOKENS if device.type == "cpu" else _TOKENS


def windows(tokenizer: Any, texts: Sequence[str], length: int) -> Batch:
    """Texts cut into rows of at most `length` tokens."""
    found: Batch = []
    for text in texts:
        ids = list(tokenizer(text)["input_ids"])
        found.extend(ids[i : i + length] for i in range(0, len(ids), length))
    return found


def packed(rows: Sequence[list[int]], tokens: int) -> list[Batch]:
    """Batches of at most `tokens` tokens with their padding, in order of length.

    A batch ends early where the next row would make more than an eighth of it padding, unless it is
    too small to be worth a forward of its own.
    """
    batches: list[Batch] = [[]]
    real = 0
    for row in sorted(rows, key=len):
        size = (len(batches[-1]) + 1) * len(row)
        wasteful = size - real - len(row) > _PADDING * size and real >= _WORTH_A_FORWARD
        if batches[-1] and (size > tokens or wasteful):
            batches.append([])
            real = 0
        batches[-1].append(row)
        real += len(row)
    return [batch for batch in batches if batch]


def plan_of(batches: Sequence[Batch]) -> Tensor:
    """Tells one way to batch from another: so many batches done mean something in one alone."""
    shapes = [[len(row) for row in batch] for batch in batches]
    digest = hashlib.sha256(repr(shapes).encode()).digest()
    return torch.frombuffer(bytearray(digest), dtype=torch.uint8)
