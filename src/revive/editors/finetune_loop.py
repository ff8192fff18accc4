"""Gradient descent on a few parameters of a model that is itself left alone."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call

from revive.editors.target_solver.tokenized_edit import TokenizedPrompt
from revive.models.forward.partial_forward import PartialForward
from revive.models.forward.runner import BlockRunner


@dataclass(frozen=True)
class Finetuned:
    """Where a descent ended.

    Attributes:
        values: Tuned parameters, as the model stores them, in the descent's precision.
        losses: Mean loss before each step.
        failed: Rows, by position, whose loss was not finite from the start.
    """

    values: dict[str, Tensor]
    losses: tuple[float, ...]
    failed: frozenset[int]


def finetune(
    runner: BlockRunner,
    start: Mapping[str, Tensor],
    rows: Sequence[TokenizedPrompt],
    *,
    layer: int,
    objective: str,
    steps: int,
    lr: float,
    box: float | None,
    stop_loss: float,
    rows_per_step: int | None = None,
    seed: int = 0,
    rows_per_pass: int = 32,
) -> Finetuned:
    """Run Adam on some of a model's parameters.

    Args:
        runner: Runs slices of the model, whose own parameters are not touched.
        start: Parameters by name as the model stores them, fp32 or fp64.
        rows: One text with its target per edit.
        layer: Lowest block that a parameter belongs to. What is below is the same at every step,
            and run once.
        objective: `target` or `last-token`.
        steps: Most steps, or epochs where there are several steps to one.
        lr: Adam's step size.
        box: Largest change of an entry, if limited.
        stop_loss: Ends below this mean loss; a step of several is left out below it.
        rows_per_step: Rows to a step; None is all of them. Which rows make a step is drawn once, so
            that what lies below the tuned block is run once; their order is drawn every epoch.
        seed: Of what is drawn.
        rows_per_pass: Rows whose gradients are computed at once; bounds memory.
    """
    leaves = {name: value.detach().clone().requires_grad_() for name, value in start.items()}
    optimizer = torch.optim.Adam(list(leaves.values()), lr=lr)
    parts = _parts(runner, rows, layer, objective, rows_per_pass)
    with torch.no_grad():
        first = [_losses(runner, leaves, part) for part in parts]
    infinite = [~losses.isfinite() for losses in first]
    failed = frozenset(
        part.rows[i]
        for part, bad in zip(parts, infinite, strict=True)
        for i in bad.nonzero().flatten().tolist()
    )
    good = [row for index, row in enumerate(rows) if index not in failed]
    draw = random.Random(seed)
    groups = _groups(good, rows_per_step, draw)
    if len(groups) > 1 or failed:
        made = [_parts(runner, group, layer, objective, rows_per_pass) for group in groups]
    else:
        made = [parts]
    losses: list[float] = []
    last = {name: leaf.detach().clone() for name, leaf in leaves.items()}
    for _ in range(steps if good else 0):
        seen = 0.0
        for at in draw.sample(range(len(made)), len(made)):
            optimizer.zero_grad()
            share = 1 / len(groups[at])
            total = sum(float(_losses(runner, leaves, p, share).sum()) for p in made[at]) * share
            seen += total * (len(groups[at]) / len(good))
            if total < stop_loss:
                continue
            if not all(_finite(leaf.grad) for leaf in leaves.values()) or total != total:
                # A step that overshot: what came before it is the best there is.
                return Finetuned(last, (*losses, seen), failed)
            last = {name: leaf.detach().clone() for name, leaf in leaves.items()}
            optimizer.step()
            if box is not None:
                with torch.no_grad():
                    for name, leaf in leaves.items():
                        leaf.clamp_(start[name] - box, start[name] + box)
        losses.append(seen)
        if seen < stop_loss:
            break
    tuned = {name: leaf.detach() for name, leaf in leaves.items()}
    return Finetuned(tuned, tuple(losses), failed)


def _groups(
    rows: Sequence[TokenizedPrompt], size: int | None, draw: random.Random
) -> list[list[TokenizedPrompt]]:
    """Rows of one step each."""
    if size is None or size >= len(rows):
        return [list(rows)]
    drawn = draw.sample(list(rows), len(rows))
    return [drawn[begin : begin + size] for begin in range(0, len(drawn), size)]


@dataclass(frozen=True)
class _Part:
    """Rows of like length where they enter the lowest tuned block.

    `rows` are their numbers; the head reads `position[i]` of row `row[i]`, where `labels[i]` is
    wanted, one of `count[row]`.
    """

    rows: tuple[int, ...]
    at: PartialForward
    row: Tensor
    position: Tensor
    labels: Tensor
    count: Tensor


def _parts(
    runner: BlockRunner, rows: Sequence[TokenizedPrompt], layer: int, objective: str, size: int
) -> list[_Part]:
    order = sorted(range(len(rows)), key=lambda i: len(rows[i].input_ids))
    parts: list[_Part] = []
    for begin in range(0, len(order), size):
        numbers = tuple(order[begin : begin + size])
        some = [rows[i] for i in numbers]
        # Whole rows: every position has a part in the gradient of a weight.
        at = PartialForward.start(runner, [row.input_ids for row in some], [0] * len(some)).to(
            layer
        )
        read = [
            (i, position if objective == "target" else row.positions[0], label)
            for i, row in enumerate(some)
            for position, label in zip(row.positions, row.labels, strict=True)
        ]
        columns = torch.tensor(read, dtype=torch.long).T
        count = torch.tensor([len(row.labels) for row in some])
        parts.append(_Part(numbers, at, columns[0], columns[1], columns[2], count))
    return parts


class _Above(nn.Module):
    """What is left of a forward, of a model whose parameters `functional_call` exchanges."""

    def __init__(self, runner: BlockRunner) -> None:
        super().__init__()
        self.model = runner.model
        self._runner = (runner,)

    def forward(self, part: _Part, state: torch.dtype, share: float | None) -> Tensor:
        """Losses; their gradients are computed in here, while the parameters are exchanged."""
        (runner,) = self._runner
        at = part.at
        out = runner.run(at.hidden, at.layer, runner.depth, at.mask, at.positions)
        row, count = part.row.to(out.device), part.count.to(out.device, state)
        logits = runner.family.logits(runner.model, out[row, part.position.to(out.device)])
        log_p = torch.log_softmax(logits.to(state), dim=-1)
        nll = -log_p.gather(1, part.labels.to(log_p.device)[:, None]).squeeze(1)
        sums = torch.zeros(len(count), dtype=state, device=out.device)
        losses = sums.index_add(0, row, nll.to(out.device)) / count
        if share is not None:
            (losses.sum() * share).backward()
        return losses.detach()


def _losses(
    runner: BlockRunner, leaves: Mapping[str, Tensor], part: _Part, share: float | None = None
) -> Tensor:
    """Mean negative log-likelihood of each row's target, `[rows]`.

    With `share` its gradient, times this, is added to that of the leaves.
    """
    # Under an adapter of PEFT a parameter has another name than the one it answers to.
    names = {parameter: name for name, parameter in runner.model.named_parameters()}
    own = {key: runner.model.get_parameter(key) for key in leaves}
    swapped = {f"model.{names[own[k]]}": leaf.to(own[k].dtype) for k, leaf in leaves.items()}
    state = next(iter(leaves.values())).dtype
    return functional_call(_Above(runner), swapped, (part, state, share))


def _finite(gradient: Tensor | None) -> bool:
    return gradient is not None and bool(gradient.isfinite().all())
