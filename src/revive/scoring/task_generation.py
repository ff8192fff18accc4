"""Greedy continuations, many prompts at once, each up to its first line break."""

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from revive.models.forward.runner import positions_of
from revive.models.placement import entry_device
from revive.scoring.task_likelihood import Progress


def write_on(
    model: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Sequence[int]],
    tokens: int,
    *,
    max_tokens_per_batch: int = 4096,
    progress: Progress | None = None,
) -> list[str]:
    """What the model writes after each prompt: its first choice, token by token.

    Nothing of the model's own generation settings applies. A text ends before a line break, at
    an end token, or after `tokens` tokens; blanks around it are cut. Where a wrecked model's
    logits are not numbers the text is empty: a run goes on and reports answers as unreadable.

    Args:
        model: Causal language model; its training mode is left as found.
        tokenizer: Its tokenizer.
        prompts: Token ids, none empty.
        tokens: Most tokens of a text.
        max_tokens_per_batch: Upper bound on padded tokens that are held at once.
        progress: Told of every batch.
    """
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    found: dict[int, str] = {}
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            while len(found) < len(order):
                batch = _batch(prompts, order[len(found) :], tokens, max_tokens_per_batch)
                texts = _texts(model, tokenizer, [prompts[i] for i in batch], tokens)
                found.update(zip(batch, texts, strict=True))
                if progress is not None:
                    progress(len(found), len(order))
    finally:
        model.train(training)
    return [found[index] for index in range(len(prompts))]


def _batch(
    prompts: Sequence[Sequence[int]], waiting: Sequence[int], tokens: int, budget: int
) -> list[int]:
    batch: list[int] = []
    for index in waiting:
        if batch and (len(batch) + 1) * (len(prompts[index]) + tokens) > budget:
            break
        batch.append(index)
    return batch


def _texts(
    model: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Sequence[int]],
    tokens: int,
) -> list[str]:
    device = entry_device(model)
    longest = max(len(p) for p in prompts)
    # The padded id is masked, so any valid id serves. Left padding, for all rows grow at the end.
    padded = [[*([p[0]] * (longest - len(p))), *p] for p in prompts]
    mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in prompts], device=device)
    accepted = inspect.signature(model.forward).parameters
    ids, cache = torch.tensor(padded, device=device), None
    ends = _end_tokens(model, tokenizer)
    rows: list[list[int]] = [[] for _ in prompts]
    texts: list[str | None] = [None] * len(prompts)
    for _ in range(tokens):
        output = model(**_inputs(ids, mask, cache, accepted), past_key_values=cache)
        logits: Tensor = output.logits[:, -1].float()
        chosen = logits.argmax(-1)
        damaged = logits.isnan().any(-1).tolist()
        for row, token in enumerate(chosen.tolist()):
            if texts[row] is None:
                texts[row] = "" if damaged[row] else _grown(tokenizer, rows[row], token, ends)
        if all(text is not None for text in texts):
            break
        cache, ids = output.past_key_values, chosen[:, None]
        mask = torch.cat([mask, mask.new_ones(len(prompts), 1)], dim=1)
    return [
        _decoded(tokenizer, row) if text is None else text
        for row, text in zip(rows, texts, strict=True)
    ]


def _inputs(ids: Tensor, mask: Tensor, cache: Any, accepted: Any) -> dict[str, Any]:
    given: dict[str, Any] = {"input_ids": ids, "attention_mask": mask, "use_cache": True}
    if "position_ids" in accepted:
        positions = positions_of(mask)
        given["position_ids"] = positions if cache is None else positions[:, -1:]
    if "logits_to_keep" in accepted:
        given["logits_to_keep"] = 1
    return given


def _grown(
    tokenizer: PreTrainedTokenizerBase, row: list[int], token: int, ends: set[int]
) -> str | None:
    """Add a token to a row; its text once it has ended, else None."""
    if token in ends:
        return _decoded(tokenizer, row)
    row.append(token)
    return _decoded(tokenizer, row) if "\n" in _text(tokenizer, row) else None


def _decoded(tokenizer: PreTrainedTokenizerBase, row: Sequence[int]) -> str:
    return _text(tokenizer, row).split("\n", 1)[0].strip()


def _text(tokenizer: PreTrainedTokenizerBase, row: Sequence[int]) -> str:
    return str(tokenizer.decode(list(row), skip_special_tokens=True))


def _end_tokens(model: nn.Module, tokenizer: PreTrainedTokenizerBase) -> set[int]:
    """The tokenizer's end token, and those that the model's generation settings name besides."""
    named = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    listed = named if isinstance(named, list) else [named]
    return {end for end in (tokenizer.eos_token_id, *listed) if isinstance(end, int)}
