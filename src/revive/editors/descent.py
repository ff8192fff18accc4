"""Gradient descent on a few parameters of a model that is itself left alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from revive.editors.rows import Row
from revive.models.placement import entry_device


@dataclass(frozen=True)
class Descended:
    """Where a descent ended.

    Attributes:
        values: Tuned parameters, as the model stores them, in the descent's precision.
        losses: Mean loss before each step.
        failed: Rows, by position, whose loss was not finite from the start.
    """

    values: dict[str, Tensor]
    losses: tuple[float, ...]
    failed: frozenset[int]


def descend(
    model: nn.Module,
    start: Mapping[str, Tensor],
    rows: Sequence[Row],
    *,
    objective: str,
    steps: int,
    lr: float,
    box: float | None,
    stop_loss: float,
    rows_per_pass: int = 32,
) -> Descended:
    """Run Adam on some of a model's parameters.

    Args:
        model: The causal language model; its parameters are not touched.
        start: Parameters by name as the model stores them, fp32 or fp64.
        rows: One text with its target per edit.
        objective: `target` or `last-token`.
        steps: Most steps.
        lr: Adam's step size.
        box: Largest change of an entry, if limited.
        stop_loss: Ends below this mean loss.
        rows_per_pass: Rows whose gradients are computed at once; bounds memory.
    """
    leaves = {name: value.detach().clone().requires_grad_() for name, value in start.items()}
    optimizer = torch.optim.Adam(list(leaves.values()), lr=lr)
    with torch.no_grad():
        first = _losses(model, leaves, rows, objective)
    failed = frozenset((~first.isfinite()).nonzero().flatten().tolist())
    good = [row for index, row in enumerate(rows) if index not in failed]
    losses: list[float] = []
    last = {name: leaf.detach().clone() for name, leaf in leaves.items()}
    for _ in range(steps if good else 0):
        optimizer.zero_grad()
        total = 0.0
        for begin in range(0, len(good), rows_per_pass):
            part = good[begin : begin + rows_per_pass]
            loss = _losses(model, leaves, part, objective).sum() / len(good)
            loss.backward()
            total += float(loss.detach())
        losses.append(total)
        if total < stop_loss:
            break
        if not all(_finite(leaf.grad) for leaf in leaves.values()) or total != total:
            # A step that overshot: what came before it is the best there is.
            return Descended(last, tuple(losses), failed)
        last = {name: leaf.detach().clone() for name, leaf in leaves.items()}
        optimizer.step()
        if box is not None:
            with torch.no_grad():
                for name, leaf in leaves.items():
                    leaf.clamp_(start[name] - box, start[name] + box)
    tuned = {name: leaf.detach() for name, leaf in leaves.items()}
    return Descended(tuned, tuple(losses), failed)


def _losses(
    model: nn.Module, leaves: Mapping[str, Tensor], rows: Sequence[Row], objective: str
) -> Tensor:
    """Mean negative log-likelihood of each row's target, `[rows]`."""
    device = entry_device(model)
    length = max(len(row.input_ids) for row in rows)
    ids = torch.zeros(len(rows), length, dtype=torch.long)
    mask = torch.zeros(len(rows), length, dtype=torch.long)
    for i, row in enumerate(rows):
        ids[i, : len(row.input_ids)] = torch.tensor(row.input_ids)
        mask[i, : len(row.input_ids)] = 1
    own = dict(model.named_parameters())
    swapped = {name: leaf.to(own[name].dtype) for name, leaf in leaves.items()}
    inputs: dict[str, Any] = {"input_ids": ids.to(device), "attention_mask": mask.to(device)}
    logits = functional_call(model, swapped, kwargs={**inputs, "use_cache": False}).logits
    read = [
        (i, position if objective == "target" else row.positions[0], label)
        for i, row in enumerate(rows)
        for position, label in zip(row.positions, row.labels, strict=True)
    ]
    at = torch.tensor(read, device=device)
    state = next(iter(leaves.values())).dtype
    log_p = torch.log_softmax(logits[at[:, 0], at[:, 1]].to(state), dim=-1)
    nll = -log_p.gather(1, at[:, 2, None]).squeeze(1)
    sums = torch.zeros(len(rows), dtype=state, device=device).index_add(0, at[:, 0], nll)
    return sums / torch.tensor([len(r.labels) for r in rows], dtype=state, device=device)


def _finite(gradient: Tensor | None) -> bool:
    return gradient is not None and bool(gradient.isfinite().all())
