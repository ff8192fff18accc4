"""One forward pass of many sequences, read at chosen positions only.

The head of a language model is often its largest matrix. A hook hands it the chosen positions
alone; whatever a model does to its head's output (scales, caps) stays the model's own business.
"""

import inspect
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from revive.models.placement import entry_device
from revive.scoring.prefix_tree import TreeRow, visible


@dataclass(frozen=True)
class Reading:
    """Positions of a batch: the r-th is `columns[r]` of row `rows[r]`."""

    rows: tuple[int, ...]
    columns: tuple[int, ...]


def run_rows(model: nn.Module, rows: Sequence[Sequence[int]], reading: Reading) -> Tensor:
    """Logits `[positions, vocabulary]` of sequences, padded on the right.

    Under a causal mask padding on the right cannot reach a real position.
    """
    device = entry_device(model)
    longest = max(len(row) for row in rows)
    # The padded id is masked and never read, so any valid id serves.
    ids = torch.tensor([[*r, *([r[0]] * (longest - len(r)))] for r in rows], device=device)
    places = torch.arange(longest, device=device).expand(len(rows), longest).contiguous()
    lengths = torch.tensor([len(row) for row in rows], device=device)
    mask = (places < lengths[:, None]).long()
    return _run(model, ids, mask, places, reading)


def run_trees(model: nn.Module, rows: Sequence[TreeRow], reading: Reading) -> Tensor:
    """Logits `[positions, vocabulary]` of nodes; each sees its ancestors and itself."""
    dtype, device = next(model.parameters()).dtype, entry_device(model)
    longest = max(len(row.tokens) for row in rows)
    blank = [longest - len(row.tokens) for row in rows]
    padded = [
        (
            [*row.tokens, *([row.tokens[0]] * n)],
            [*row.depths, *([0] * n)],
            # A padded node sees itself: a row of the mask that allows nothing is undefined.
            [*row.lasts, *range(longest - n, longest)],
        )
        for row, n in zip(rows, blank, strict=True)
    ]
    ids, depths, lasts = (
        torch.tensor([p[part] for p in padded], device=device) for part in range(3)
    )
    hidden = torch.zeros(len(rows), 1, longest, longest, dtype=dtype, device=device)
    hidden.masked_fill_(~visible(lasts)[:, None], torch.finfo(dtype).min)
    return _run(model, ids, hidden, depths, reading)


def _run(
    model: nn.Module, ids: Tensor, mask: Tensor, positions: Tensor, reading: Reading
) -> Tensor:
    rows = torch.tensor(reading.rows, device=ids.device)
    columns = torch.tensor(reading.columns, device=ids.device)
    extra: dict[str, Any] = {}
    if "position_ids" in inspect.signature(model.forward).parameters:
        extra["position_ids"] = positions
    with _head_at(model, tuple(ids.shape), rows, columns) as narrowed:
        out = model(input_ids=ids, attention_mask=mask, use_cache=False, **extra)
    logits: Tensor = out.logits
    if narrowed:
        return logits[0]
    return logits[rows.to(logits.device), columns.to(logits.device)]


@contextmanager
def _head_at(
    model: nn.Module, shape: tuple[int, ...], rows: Tensor, columns: Tensor
) -> Generator[list[bool], None, None]:
    """Have the head see `[1, positions, d]`; holds something once that has happened."""
    narrowed: list[bool] = []
    get_head = getattr(model, "get_output_embeddings", None)
    head = None if get_head is None else get_head()
    if not isinstance(head, nn.Module):
        yield narrowed
        return

    def hook(_module: nn.Module, args: tuple[Any, ...]) -> Any:
        states: Tensor = args[0]
        if tuple(states.shape[:-1]) != shape:
            return None
        narrowed.append(True)
        return (states[rows.to(states.device), columns.to(states.device)][None], *args[1:])

    handle = head.register_forward_pre_hook(hook)
    try:
        yield narrowed
    finally:
        handle.remove()
