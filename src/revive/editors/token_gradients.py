"""What edited projections receive, and the loss's gradient at their outputs, token by token."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from revive.editors.rows import Row
from revive.models.padding import padded
from revive.models.placement import entry_device
from revive.models.runner import by_row
from revive.models.site import Site


@dataclass(frozen=True)
class TokenGradients:
    """Of the positions at which targets are predicted, in the order of the rows.

    Attributes:
        keys: Inputs by key, `[tokens, d_in]`, fp32 or fp64.
        gradients: Of the rows' mean negative log-likelihoods, `[tokens, d_out]`.
        owner: Row of each token.
        losses: Mean negative log-likelihood of each row's target.
    """

    keys: dict[str, Tensor]
    gradients: dict[str, Tensor]
    owner: tuple[int, ...]
    losses: Tensor


def token_gradients(
    model: nn.Module, sites: Sequence[Site], rows: Sequence[Row], *, rows_per_pass: int = 64
) -> TokenGradients:
    """One forward and one backward pass. Rows do not see each other.

    Args:
        model: The causal language model, frozen.
        sites: Edited projections.
        rows: One text with its target per edit.
        rows_per_pass: Rows computed at once; bounds memory.
    """
    parts = [
        _pass(model, sites, rows[begin : begin + rows_per_pass])
        for begin in range(0, len(rows), rows_per_pass)
    ]
    owner = tuple(i for i, row in enumerate(rows) for _ in row.labels)
    return TokenGradients(
        {s.key: torch.cat([p[0][s.key] for p in parts]) for s in sites},
        {s.key: torch.cat([p[1][s.key] for p in parts]) for s in sites},
        owner,
        torch.cat([p[2] for p in parts]),
    )


def _pass(
    model: nn.Module, sites: Sequence[Site], rows: Sequence[Row]
) -> tuple[dict[str, Tensor], dict[str, Tensor], Tensor]:
    device = entry_device(model)
    ids, mask = padded([row.input_ids for row in rows])
    read = torch.tensor(
        [
            (i, position, label)
            for i, row in enumerate(rows)
            for position, label in zip(row.positions, row.labels, strict=True)
        ],
        device=device,
    )
    called: Any = model
    with torch.enable_grad(), _recorded(model, sites) as (inputs, outputs):
        logits = called(
            input_ids=ids.to(device), attention_mask=mask.to(device), use_cache=False
        ).logits[read[:, 0], read[:, 1]]
        logits = logits if logits.dtype == torch.float64 else logits.float()
        nll = -torch.log_softmax(logits, dim=-1).gather(1, read[:, 2, None]).squeeze(1)
        count = torch.tensor([len(r.labels) for r in rows], device=device, dtype=nll.dtype)
        losses = nll.new_zeros(len(rows)).index_add(0, read[:, 0], nll) / count
        names = [s.key for s in sites]
        found = torch.autograd.grad(losses.sum(), [outputs[name] for name in names])
    at = (read[:, 0], read[:, 1])
    keys = {name: by_row(inputs[name], len(rows))[at].detach().to(nll.dtype) for name in names}
    gradients = {
        n: by_row(g, len(rows))[at].to(nll.dtype) for n, g in zip(names, found, strict=True)
    }
    return keys, gradients, losses.detach()


@contextmanager
def _recorded(
    model: nn.Module, sites: Sequence[Site]
) -> Generator[tuple[dict[str, Tensor], dict[str, Tensor]], None, None]:
    inputs: dict[str, Tensor] = {}
    outputs: dict[str, Tensor] = {}

    def recorder(key: str) -> Any:
        def hook(_module: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
            inputs[key] = args[0]
            outputs[key] = output if output.requires_grad else output.requires_grad_()
            # A copy goes on: some models (Falcon) add to it in place.
            return outputs[key].clone()

        return hook

    handles = [model.get_submodule(s.module).register_forward_hook(recorder(s.key)) for s in sites]
    try:
        yield inputs, outputs
    finally:
        for handle in handles:
            handle.remove()
