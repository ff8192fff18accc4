"""Mixtures of experts: the projections of a block's experts share one parameter `[e, out, in]`.

For a token that the router sends to experts e with weights g_e, the experts' module gives
    y = sum_e g_e W_e h_e = sum_e W_e k_e,    k_e = g_e h_e:
linear in all W_e together, with the block-sparse key [k_1; ...; k_E]. Tokens that an expert does
not get have k_e = 0. Keys are computed from what the module receives, since its own forward may
multiply all experts in one kernel; a test, and `revive doctor`, hold them to what the module gives.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Experts:
    """How a family lays out its experts.

    Attributes:
        module: Path of the experts' module inside a block. It takes tokens `[tokens, d]`, the
            chosen experts `[tokens, top]` and their weights `[tokens, top]`. Blocks without it
            have an ordinary MLP.
        out: Name of the parameter of all second projections, `[e, d_out, d_in]`.
        hidden: Of the module, tokens `[m, d]` and an expert: h, what its second projection
            receives, `[m, d_in]`.
    """

    module: str
    out: str
    hidden: Callable[[Any, Tensor, int], Tensor]


@dataclass(frozen=True)
class Routed:
    """What one expert receives, token by token, weighted by the router.

    Attributes:
        rows: Row of each token, `[m]`.
        positions: Its position in the row, `[m]`.
        keys: k = g h, `[m, d_in]`, fp32 (fp64 for an fp64 model).
    """

    rows: Tensor
    positions: Tensor
    keys: Tensor


def gated_hidden(module: Any, states: Tensor, expert: int) -> Tensor:
    """Activation of a gated MLP whose two first projections are stored one after the other."""
    gate, up = torch.nn.functional.linear(states, module.gate_up_proj[expert]).chunk(2, dim=-1)
    return module.act_fn(gate) * up


def routed_keys(
    experts: Experts, module: Any, args: tuple[Tensor, ...], expert: int, rows: int
) -> Routed:
    """One expert's keys, from what the experts' module is called with.

    Args:
        experts: The family's layout.
        module: The experts' module.
        args: Tokens, chosen experts, weights; tokens of a row stand together.
        expert: The expert.
        rows: Number of rows.
    """
    states, chosen, weights = args
    token, place = (chosen == expert).nonzero(as_tuple=True)
    hidden = experts.hidden(module, states[token], expert)
    wide = torch.float64 if hidden.dtype == torch.float64 else torch.float32
    keys = hidden.to(wide) * weights[token, place, None].to(wide)
    length = len(states) // rows
    return Routed(token // length, token % length, keys)
