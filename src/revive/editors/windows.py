"""Text as batches of token windows, for one pass over it."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor


def windows(
    tokenizer: Any, texts: Sequence[str], window: int, tokens_per_batch: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Token ids and mask `[rows, length]` of every batch, short windows first.

    Args:
        tokenizer: Of the model.
        texts: Ordinary text.
        window: Tokens per window.
        tokens_per_batch: Padded tokens per batch.
    """
    rows: list[list[int]] = []
    for text in texts:
        ids = list(tokenizer(text)["input_ids"])
        rows.extend(ids[i : i + window] for i in range(0, len(ids), window))
    rows.sort(key=len)
    batch: list[list[int]] = []
    for row in rows:
        if batch and (len(batch) + 1) * len(row) > tokens_per_batch:
            yield _pad(batch)
            batch = []
        batch.append(row)
    if batch:
        yield _pad(batch)


def _pad(rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    length = max(len(r) for r in rows)
    ids = torch.zeros(len(rows), length, dtype=torch.long)
    mask = torch.zeros(len(rows), length, dtype=torch.long)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = torch.tensor(row)
        mask[i, : len(row)] = 1
    return ids, mask
