"""The literature's way, as the authors' published programs go about it; the plain reference.

One edit's target at a time, all of its rows through the whole model with logits at every position;
keys and outputs by a whole forward for every edited layer, and once more after the batch for the
history; moments by a pass over the text for every layer, which ends there, of a hundred texts at a
time in order of length (so MEMIT's programs, `rome/repr_tools.py` and `rome/layer_stats.py` of
github.com/kmeng01/memit); the [d_in, d_in] system
by LU; the guard by a full SVD of the weight at every batch and a dense update. Nothing of the
library's solvers is used here, and the results must be equal.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.machine import timed
from revive.editors.target_solver.tokenized_edit import TokenizedEdit, TokenizedPrompt
from revive.models.family import Family, read_weight, write_weight
from revive.models.forward.frozen import frozen
from revive.models.forward.runner import hidden_of
from revive.models.site import Site
from revive.options.editors import MemitOptions

_TEXTS = 100  # that are sorted by length together


@dataclass
class PlainBatch:
    """What the plain way gave for one batch.

    Attributes:
        updates: Guarded dense updates by parameter name, fp64.
        keys: Keys of the batch, recomputed after it, by parameter name.
        seconds: By phase: keys, solve, guard, write.
    """

    updates: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    keys: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    seconds: dict[str, float] = field(
        default_factory=lambda: {"keys": 0.0, "solve": 0.0, "guard": 0.0, "write": 0.0}
    )


def plain_target(
    model: Any, block: nn.Module, rows: TokenizedEdit, options: MemitOptions
) -> Tensor:
    """The target of one edit."""
    texts = [*rows.rewrite, rows.essence]
    ids, mask = _padded(texts, next(model.parameters()).device)
    at = torch.tensor([r.lookup for r in texts], device=ids.device)
    every = torch.arange(len(texts), device=ids.device)
    start: list[Tensor] = []
    lr, decay, kl_factor, clamp, steps = (
        options.lr or 0.0,
        options.weight_decay or 0.0,
        options.kl_factor or 0.0,
        options.clamp or 0.0,
        options.steps or 1,
    )

    def log_p(delta: Tensor) -> Tensor:
        def hook(_module: nn.Module, _args: Any, output: Any) -> Any:
            hidden = hidden_of(output).clone()
            start.append(hidden[0, at[0]].detach().to(delta.dtype))
            hidden[every, at] = (hidden[every, at].to(delta.dtype) + delta).to(hidden.dtype)
            return (hidden, *output[1:]) if isinstance(output, tuple) else hidden

        handle = block.register_forward_hook(hook)
        try:
            logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits
        finally:
            handle.remove()
        return torch.log_softmax(logits.to(delta.dtype), dim=-1)

    with frozen(model):
        width = model.get_input_embeddings().weight.shape[1]
        delta = torch.zeros(width, device=ids.device, requires_grad=True)
        optimizer = torch.optim.Adam([delta], lr=lr)
        base: Tensor | None = None
        for _ in range(steps - 1):
            optimizer.zero_grad()
            out = log_p(delta)
            losses = [
                -out[i, list(r.positions), list(r.labels)].mean()
                for i, r in enumerate(rows.rewrite)
            ]
            essence = out[-1, rows.essence.lookup]
            base = essence.detach() if base is None else base
            kl = (essence.exp() * (essence - base)).sum()
            loss = torch.stack(losses).mean() + kl_factor * kl
            loss = loss + decay * delta.norm() / start[0].norm() ** 2
            if float(loss.detach()) < options.stop_loss:
                return start[0] + delta.detach()
            loss.backward()
            optimizer.step()
            with torch.no_grad():
                bound = clamp * start[0].norm()
                if delta.norm() > bound:
                    delta.mul_(bound / delta.norm())
        with torch.no_grad():
            log_p(delta.detach())  # the last evaluation, whose loss is only looked at
    return start[0] + delta.detach()


@torch.no_grad()
def plain_batch(
    model: nn.Module,
    family: Family,
    sites: Sequence[Site],
    rows: Sequence[TokenizedEdit],
    z: Tensor,
    moments: Mapping[str, Tensor],
    ridge: float,
    energy: float,
    device: torch.device,
) -> PlainBatch:
    """Spread solved targets over the layers, as MEMIT-seq under REVIVE does; writes the model."""
    done = PlainBatch()
    last = family.blocks_of(model)[sites[-1].layer]
    originals = {s.parameter: read_weight(model, s).double() for s in sites}
    for index, site in enumerate(sites):
        keys = _timed_keys(done, model, rows, site, device)
        now, took = timed(lambda: _outputs(model, rows, last), device)
        done.seconds["keys"] += took
        share = (z.T - now.T).double() / (len(sites) - index)

        def solve(keys: Tensor = keys, share: Tensor = share, site: Site = site) -> Tensor:
            system = ridge * moments[site.parameter] + keys @ keys.T
            return share @ torch.linalg.solve(system, keys).T

        update, took = timed(solve, device)
        done.seconds["solve"] += took
        weight = originals[site.parameter]
        safe, took = timed(lambda u=update, w=weight: plain_guard(w, u, energy), device)
        done.seconds["guard"] += took
        added = read_weight(model, site).double() + safe
        _, took = timed(lambda s=site, w=added: write_weight(model, s, w), device)
        done.seconds["write"] += took
        done.updates[site.parameter] = safe
    for site in sites:  # for the history of MEMIT-seq and AlphaEdit
        done.keys[site.parameter] = _timed_keys(done, model, rows, site, device)
    return done


def plain_guard(weight: Tensor, update: Tensor, energy: float) -> Tensor:
    """REVIVE by a full SVD and the coefficients in its basis; what lies outside is kept."""
    u, s, vh = torch.linalg.svd(weight, full_matrices=False)
    k = int((s.cumsum(0) < energy * s.sum()).sum()) + 1
    inside_left = update - u[:, :k] @ (u[:, :k].T @ update)
    return inside_left - (inside_left @ vh[:k].T) @ vh[:k]


@torch.no_grad()
def plain_moments(
    model: nn.Module, sites: Sequence[Site], texts: Sequence[Sequence[int]], tokens: int
) -> dict[str, Tensor]:
    """One pass over the text for every site, each as far as that site; fp32 sums.

    Args:
        model: The model.
        sites: Whose inputs are wanted.
        texts: Token ids.
        tokens: Padded tokens of a forward. The published program takes three times the model's
            window, which suits a GPU.
    """
    device = next(model.parameters()).device
    groups = [sorted(texts[i : i + _TEXTS], key=len) for i in range(0, len(texts), _TEXTS)]
    batches = [batch for group in groups for batch in _by_length(group, tokens)]
    found: dict[str, Tensor] = {}
    for site in sites:
        total = torch.zeros(site.shape[1], site.shape[1], device=device)
        for batch in batches:
            ids, mask = _padded([TokenizedPrompt(tuple(t), 0) for t in batch], device)
            keys = _inputs(model, site, ids, mask, stop=True)[mask.bool()].float()
            total.addmm_(keys.T, keys)
        found[site.parameter] = total / sum(len(t) for t in texts)
    return found


def _by_length(texts: Sequence[Sequence[int]], tokens: int) -> list[list[Sequence[int]]]:
    """Neighbours in length, as many as make `tokens` with their padding."""
    batches: list[list[Sequence[int]]] = [[]]
    for text in texts:
        if batches[-1] and (len(batches[-1]) + 1) * len(text) > tokens:
            batches.append([])
        batches[-1].append(text)
    return batches


@torch.no_grad()
def plain_nll(model: Any, tokenizer: Any, prompt: str, target: str) -> float:
    """Mean negative log-likelihood of one target after one prompt, alone in the batch."""
    device = next(model.parameters()).device
    start = len(tokenizer(prompt)["input_ids"])
    ids = torch.tensor([tokenizer(f"{prompt} {target}")["input_ids"]], device=device)
    log_p = torch.log_softmax(model(input_ids=ids).logits[0].float(), dim=-1)
    wanted = ids[0, start:]
    return float(-log_p[start - 1 : -1].gather(1, wanted[:, None]).mean())


def _timed_keys(
    done: PlainBatch,
    model: nn.Module,
    rows: Sequence[TokenizedEdit],
    site: Site,
    device: torch.device,
) -> Tensor:
    keys, took = timed(lambda: _keys(model, rows, site), device)
    done.seconds["keys"] += took
    return keys


def _keys(model: nn.Module, rows: Sequence[TokenizedEdit], site: Site) -> Tensor:
    """Keys `[d_in, n]`, fp64: half the plain prompt's, half the contexts' mean."""
    device = next(model.parameters()).device
    found: list[Tensor] = []
    for edit in rows:
        ids, mask = _padded(edit.rewrite, device)
        seen = _inputs(model, site, ids, mask)
        at = torch.stack([seen[i, r.lookup] for i, r in enumerate(edit.rewrite)]).double()
        found.append(0.5 * at[0] + 0.5 * at[1:].mean(dim=0) if len(at) > 1 else at[0])
    return torch.stack(found, dim=1)


def _outputs(model: Any, rows: Sequence[TokenizedEdit], block: nn.Module) -> Tensor:
    """Output of a block on the plain prompts, `[n, d]`."""
    found: list[Tensor] = []
    device = next(model.parameters()).device
    for edit in rows:
        ids, mask = _padded(edit.rewrite[:1], device)
        seen: list[Tensor] = []
        handle = block.register_forward_hook(
            lambda _module, _args, output, seen=seen: seen.append(hidden_of(output))
        )
        try:
            model(input_ids=ids, attention_mask=mask, use_cache=False)
        finally:
            handle.remove()
        found.append(seen[0][0, edit.rewrite[0].lookup].float())
    return torch.stack(found)


class _Enough(Exception):
    """What was wanted of a forward has been seen."""


def _inputs(model: Any, site: Site, ids: Tensor, mask: Tensor, *, stop: bool = False) -> Tensor:
    seen: list[Tensor] = []

    def hook(_module: nn.Module, args: tuple[Any, ...], _output: Any) -> None:
        seen.append(args[0])
        if stop:
            raise _Enough

    # After the module, as the published program's hook: it has computed what nobody reads.
    handle = model.get_submodule(site.module).register_forward_hook(hook)
    try:
        with suppress(_Enough):
            model(input_ids=ids, attention_mask=mask, use_cache=False)
    finally:
        handle.remove()
    return seen[0]


def _padded(rows: Sequence[TokenizedPrompt], device: torch.device) -> tuple[Tensor, Tensor]:
    length = max(len(r.input_ids) for r in rows)
    ids = torch.zeros(len(rows), length, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for i, row in enumerate(rows):
        ids[i, : len(row.input_ids)] = torch.tensor(row.input_ids)
        mask[i, : len(row.input_ids)] = 1
    return ids.to(device), mask.to(device)
