"""What sites receive and put out, and a loss's gradient there, while a model runs."""

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from revive.models.experts import Routed, routed_keys
from revive.models.forward.runner import BlockRunner
from revive.models.site import Site


@dataclass(frozen=True)
class _Call:
    """One call of a site's module: what it received, what it put out, and of how many rows."""

    module: nn.Module
    args: tuple[Tensor, ...]
    output: Tensor
    rows: int


@contextmanager
def inputs_of(
    runner: BlockRunner, sites: Sequence[Site]
) -> Generator[dict[str, Tensor], None, None]:
    """Record what each site's projection receives, `[rows, length, d_in]`, by key.

    Experts of a mixture receive some tokens only: see `routed_inputs_of`.
    """
    seen: dict[str, Tensor] = {}

    def see(site: Site, call: _Call) -> None:
        seen[site.key] = _by_row(call.args[0], call.rows)

    with _seeing(runner, sites, see):
        yield seen


@contextmanager
def outputs_of(
    runner: BlockRunner, sites: Sequence[Site]
) -> Generator[dict[str, Tensor], None, None]:
    """Record what each site's projection puts out, `[rows, length, d_out]`, by key."""
    seen: dict[str, Tensor] = {}

    def see(site: Site, call: _Call) -> None:
        # A copy: some models (Falcon) add to it in place.
        seen[site.key] = _by_row(call.output.clone(), call.rows)

    with _seeing(runner, sites, see):
        yield seen


@contextmanager
def gradients_at(
    runner: BlockRunner, sites: Sequence[Site]
) -> Generator[Callable[[Tensor], dict[str, Tensor]], None, None]:
    """Have a frozen model's sites start a graph, whatever their weights are.

    Yields a function: of a loss that was computed inside, from a forward of this model, it gives
    the gradient at what each site puts out, `[rows, length, d_out]`, by key. Gradients are enabled
    inside.
    """
    calls: dict[str, _Call] = {}

    def see(site: Site, call: _Call) -> Tensor:
        output = call.output if call.output.requires_grad else call.output.requires_grad_()
        calls[site.key] = replace(call, output=output)
        # A copy goes on: some models (Falcon) add to it in place.
        return output.clone()

    def gradients(loss: Tensor) -> dict[str, Tensor]:
        found = torch.autograd.grad(loss, [call.output for call in calls.values()])
        return {
            key: _by_row(gradient, call.rows)
            for (key, call), gradient in zip(calls.items(), found, strict=True)
        }

    with torch.enable_grad(), _seeing(runner, sites, see):
        yield gradients


@contextmanager
def routed_inputs_of(
    runner: BlockRunner, sites: Sequence[Site], at: Tensor | None = None
) -> Generator[dict[str, Routed], None, None]:
    """Record what experts receive, weighted by the router, by key.

    Args:
        runner: Of the model.
        sites: Experts of mixtures.
        at: `[rows]`, the one position of each row that is recorded; None for all.
    """
    seen: dict[str, Routed] = {}

    def see(site: Site, call: _Call) -> None:
        layout, expert, args, rows = runner.family.experts, site.expert, call.args, call.rows
        assert layout is not None, "a family with mixtures"
        assert expert is not None, "an expert's site"
        if at is None:
            seen[site.key] = routed_keys(layout, call.module, args, expert, rows)
            return
        chosen = torch.arange(rows, device=at.device) * (len(args[0]) // rows) + at
        picked = tuple(x[chosen] for x in args)
        found = routed_keys(layout, call.module, picked, expert, rows)
        seen[site.key] = replace(found, positions=at[found.rows])

    with _seeing(runner, sites, see):
        yield seen


@contextmanager
def _seeing(
    runner: BlockRunner, sites: Sequence[Site], see: Callable[[Site, _Call], Tensor | None]
) -> Generator[None, None, None]:
    """Show every call of sites' modules; what is given back goes on in place of the output."""
    rows = 0

    def count(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        nonlocal rows
        given = (*args[:1], kwargs.get("input_ids"), kwargs.get("inputs_embeds"))
        rows = next(len(x) for x in given if x is not None)

    def hook_of(site: Site) -> Any:
        def hook(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
            return see(site, _Call(module, args, output, rows))

        return hook

    model = runner.model
    handles = [
        runner.family.base_of(model).register_forward_pre_hook(count, with_kwargs=True),
        *(model.get_submodule(s.module).register_forward_hook(hook_of(s)) for s in sites),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _by_row(states: Tensor, rows: int) -> Tensor:
    """States as `[rows, length, d]`: some models (OPT) flatten rows and positions into one."""
    return states if states.ndim == 3 else states.unflatten(0, (rows, -1))
