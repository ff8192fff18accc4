"""Continue texts, several at a time, by greedy choice or seeded sampling.

Prompts are padded on the left, keys and values are kept. What a prompt draws depends on the seed,
the prompt and how often it was asked before: not on the batch it is in, nor on the other prompts.
"""

import hashlib
import inspect
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from revive.data.encoding import encode_prompt
from revive.data.prompts import Prompt
from revive.models.forward.runner import context_length, positions_of
from revive.models.placement import entry_device


@dataclass(frozen=True)
class Generated:
    """A continued prompt.

    Attributes:
        text: Prompt and continuation, without special tokens.
        continuation: The part after the prompt, up to the end token where the model gave one.
    """

    text: str
    continuation: str


@dataclass(frozen=True)
class _Request:
    ids: tuple[int, ...]
    wanted: int
    draws: Tensor


def generate(
    model: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str | Prompt],
    *,
    length: int | None = None,
    new_tokens: int | Sequence[int] | None = None,
    top_k: int = 1,
    seed: int = 0,
    rows: int = 32,
) -> list[Generated]:
    """Continue each prompt; the end token does not stop a text, it only ends its `continuation`.

    Args:
        model: Causal language model; its training mode is left as found.
        tokenizer: Its tokenizer.
        prompts: Texts, or prompts in an edit's form.
        length: Tokens of prompt and continuation together, as published evaluations count.
        new_tokens: Or tokens of the continuation alone; one number, or one for each prompt.
        top_k: Sample among this many most likely tokens; 1 is greedy.
        seed: Of the sampling.
        rows: Prompts in a batch.
    """
    if (length is None) == (new_tokens is None):
        raise ValueError("generate: give length or new_tokens, one of them")
    room = context_length(model)
    asked: Counter[str] = Counter()
    requests: list[_Request] = []
    each = new_tokens if isinstance(new_tokens, Sequence) else [new_tokens] * len(prompts)
    for given, new in zip(prompts, each, strict=True):
        prompt = given if isinstance(given, str) else given.text
        read = given if isinstance(given, Prompt) else Prompt(given)
        # A closed text is not continued: an end token that the tokenizer appends is left out.
        ids = tuple(encode_prompt(tokenizer, read))
        if room is not None:
            ids = ids[-(room - (new or 1)) :]
        wanted = new if new is not None else max(0, (length or 0) - len(ids))
        wanted = wanted if room is None else min(wanted, room - len(ids))
        draws = _draws(seed, prompt, asked[prompt], wanted)
        asked[prompt] += 1
        requests.append(_Request(ids, wanted, draws))
    order = sorted(range(len(requests)), key=lambda i: (len(requests[i].ids), requests[i].wanted))
    found: dict[int, list[int]] = {}
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            for first in range(0, len(order), rows):
                batch = order[first : first + rows]
                new = _continue(model, [requests[i] for i in batch], top_k)
                found.update(zip(batch, new, strict=True))
    finally:
        model.train(training)
    return [_decoded(tokenizer, r.ids, found[i]) for i, r in enumerate(requests)]


def _continue(model: nn.Module, requests: Sequence[_Request], top_k: int) -> list[list[int]]:
    device = entry_device(model)
    longest = max(len(r.ids) for r in requests)
    steps = max(r.wanted for r in requests)
    blank = [longest - len(r.ids) for r in requests]
    ids = torch.tensor(
        [[*([r.ids[0]] * n), *r.ids] for r, n in zip(requests, blank, strict=True)], device=device
    )
    mask = (torch.arange(longest) >= torch.tensor(blank)[:, None]).long().to(device)
    draws = torch.nn.utils.rnn.pad_sequence([r.draws for r in requests], batch_first=True)
    accepted = inspect.signature(model.forward).parameters
    extra: dict[str, Any] = {"logits_to_keep": 1} if "logits_to_keep" in accepted else {}
    positions, past = positions_of(mask), None
    made: list[Tensor] = []
    for step in range(steps):
        if "position_ids" in accepted:
            extra["position_ids"] = positions
        out = model(
            input_ids=ids, attention_mask=mask, past_key_values=past, use_cache=True, **extra
        )
        past = out.past_key_values
        ids = _choose(out.logits[:, -1], draws[:, step], top_k)[:, None].to(device)
        made.append(ids[:, 0].cpu())
        mask = torch.cat([mask, torch.ones_like(mask[:, :1])], dim=1)
        positions = positions[:, -1:] + 1
    columns: list[list[int]] = torch.stack(made, 1).tolist() if made else [[] for _ in requests]
    return [row[: r.wanted] for row, r in zip(columns, requests, strict=True)]


def _choose(logits: Tensor, draws: Tensor, top_k: int) -> Tensor:
    """`[rows]` token ids: the first choice, or that of the k first whose share holds the draw."""
    if top_k == 1:
        return logits.argmax(-1).cpu()
    values, tokens = logits.float().cpu().topk(min(top_k, logits.shape[-1]))
    reached = (draws[:, None] >= values.softmax(-1).cumsum(-1)).sum(-1)
    return tokens.gather(1, reached.clamp(max=tokens.shape[1] - 1)[:, None])[:, 0]


def _draws(seed: int, prompt: str, asked: int, count: int) -> Tensor:
    digest = hashlib.sha256(f"{seed} {asked} {prompt}".encode("utf-8", "surrogatepass")).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
    return torch.rand(count, generator=generator)


def _decoded(
    tokenizer: PreTrainedTokenizerBase, prompt: Sequence[int], new: Sequence[int]
) -> Generated:
    end = tokenizer.eos_token_id
    own = list(new[: new.index(end)]) if end in new else list(new)
    before = _decode(tokenizer, prompt)
    upto = _decode(tokenizer, [*prompt, *own])
    return Generated(_decode(tokenizer, [*prompt, *new]), upto[len(before) :])


def _decode(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> str:
    return str(
        tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)
    )
