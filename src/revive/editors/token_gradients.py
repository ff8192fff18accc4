"""What edited projections receive, and the loss's gradient at their outputs, token by token."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from revive.editors.target_solver.tokenized_edit import TokenizedPrompt
from revive.models.forward.activation_hooks import gradients_at, inputs_of
from revive.models.forward.padding import padded
from revive.models.forward.runner import BlockRunner
from revive.models.placement import entry_device
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
    runner: BlockRunner,
    sites: Sequence[Site],
    rows: Sequence[TokenizedPrompt],
    *,
    rows_per_pass: int = 64,
) -> TokenGradients:
    """One forward and one backward pass. Rows do not see each other.

    Args:
        runner: Of the model, frozen.
        sites: Edited projections.
        rows: One text with its target per edit.
        rows_per_pass: Rows computed at once; bounds memory.
    """
    parts = [
        _pass(runner, sites, rows[begin : begin + rows_per_pass])
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
    runner: BlockRunner, sites: Sequence[Site], rows: Sequence[TokenizedPrompt]
) -> tuple[dict[str, Tensor], dict[str, Tensor], Tensor]:
    device = entry_device(runner.model)
    ids, mask = padded([row.input_ids for row in rows])
    read = torch.tensor(
        [
            (i, position, label)
            for i, row in enumerate(rows)
            for position, label in zip(row.positions, row.labels, strict=True)
        ]
    ).T
    with gradients_at(runner, sites) as gradients_of, inputs_of(runner, sites) as inputs:
        hidden = runner.states(ids.to(device), mask.to(device))
        row, position, label = read.to(hidden.device)
        logits = runner.family.logits(runner.model, hidden[row, position])
        logits = logits if logits.dtype == torch.float64 else logits.float()
        log_p = torch.log_softmax(logits, dim=-1)
        nll = -log_p.gather(1, label.to(log_p.device)[:, None]).squeeze(1)
        row = row.to(nll.device)
        count = torch.tensor([len(r.labels) for r in rows], device=nll.device, dtype=nll.dtype)
        losses = nll.new_zeros(len(rows)).index_add(0, row, nll) / count
        found = gradients_of(losses.sum())

    def at(states: Tensor) -> Tensor:
        return states[read[0].to(states.device), read[1].to(states.device)].to(nll.dtype)

    return (
        {key: at(x).detach() for key, x in inputs.items()},
        {key: at(g) for key, g in found.items()},
        losses.detach(),
    )
