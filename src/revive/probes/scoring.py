"""Log-probabilities of given tokens under any Hugging Face causal language model.

Sequences are sorted by length, padded on the right and run in batches of bounded size. Under a
causal mask right padding cannot reach a scored position, so batch composition does not matter
beyond rounding.
"""

import inspect
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from revive.models.placement import entry_device
from revive.models.runner import context_length

_DEFAULT_WINDOW = 512  # tokens


@dataclass(frozen=True)
class TargetScores:
    """Scores of n targets, in input order.

    Attributes:
        nll: [n] mean negative log-likelihood per target token, in nats, float32.
        exact: [n] whether every target token is the model's first choice given the ones before.
    """

    nll: Tensor
    exact: Tensor


@dataclass(frozen=True)
class _Scored:
    """Per-token results of one sequence, from its first scored token on."""

    nll: Tensor
    hit: Tensor


def score_targets(
    model: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    targets: Sequence[str],
    *,
    max_tokens_per_batch: int = 4096,
) -> TargetScores:
    """Score each target as the continuation of its prompt after a single space.

    Of a prompt that is longer than the model's context, the end is read, as the evaluation
    harnesses do.

    Args:
        model: Causal language model; its training mode is left as found.
        tokenizer: Its tokenizer. Special tokens are added the way it adds them to the prompt.
        prompts: Texts that end right before the target.
        targets: Continuations; space around them is ignored.
        max_tokens_per_batch: Upper bound on padded tokens per forward pass.

    Raises:
        ValueError: If the lists differ in length or a target has no tokens of its own.
    """
    if len(prompts) != len(targets):
        raise ValueError(
            f"score_targets: {len(prompts)} prompts but {len(targets)} targets; pass one target "
            "per prompt"
        )
    if not prompts:
        return TargetScores(torch.zeros(0), torch.zeros(0, dtype=torch.bool))
    whole = [f"{p.rstrip()} {t.strip()}" for p, t in zip(prompts, targets, strict=True)]
    starts = [len(ids) for ids in _encode(tokenizer, [prompt.rstrip() for prompt in prompts])]
    sequences = _encode(tokenizer, whole)
    room = context_length(model)
    for prompt, target, start, ids in zip(prompts, targets, starts, sequences, strict=True):
        if not target.strip() or not 0 < start < len(ids):
            raise ValueError(
                f"score_targets: target {target!r} after prompt {prompt!r} has no tokens that "
                "can be scored; give a non-empty prompt and target"
            )
    if room is not None:
        starts = [max(1, s - max(0, len(i) - room)) for s, i in zip(starts, sequences, strict=True)]
        sequences = [ids[-room:] for ids in sequences]
    scored = _score(model, sequences, starts, max_tokens_per_batch)
    return TargetScores(
        nll=torch.stack([item.nll.mean() for item in scored]),
        exact=torch.stack([item.hit.all() for item in scored]),
    )


def perplexity(
    model: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    text: str,
    *,
    window: int | None = None,
    stride: int | None = None,
    max_tokens_per_batch: int = 4096,
) -> float:
    """Token perplexity of a text under a sliding window.

    Args:
        model: Causal language model.
        tokenizer: Its tokenizer.
        text: Running text.
        window: Tokens per forward pass, start token included. Default: what model and tokenizer
            allow, at most 512.
        stride: Tokens that each window after the first adds; the rest is context. Default: half
            of the window.
        max_tokens_per_batch: Upper bound on padded tokens per forward pass.

    Returns:
        exp of the mean negative log-likelihood per token, every token scored once.

    Raises:
        ValueError: If the text is too short or the window and stride do not fit together.
    """
    window = _default_window(model, tokenizer) if window is None else window
    start = _start_token(tokenizer)
    room = window - len(start)
    stride = max(1, room // 2) if stride is None else stride
    if not 1 <= stride <= room:
        raise ValueError(f"perplexity: stride {stride} must be between 1 and {room} tokens")
    encoded = tokenizer(text, add_special_tokens=False, verbose=False)
    ids: list[int] = encoded["input_ids"]
    if len(ids) + len(start) < 2:
        raise ValueError("perplexity: the text has no token to score; pass a longer text")
    sequences: list[list[int]] = []
    firsts: list[int] = []
    done = 0
    while done < len(ids):
        end = min(len(ids), done + stride) if done else min(len(ids), room)
        begin = max(0, end - room)
        sequences.append([*start, *ids[begin:end]])
        firsts.append(max(1, len(start) + done - begin))
        done = end
    scored = _score(model, sequences, firsts, max_tokens_per_batch)
    return math.exp(torch.cat([item.nll for item in scored]).double().mean().item())


def pair_accuracy(
    model: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    good: Sequence[str],
    bad: Sequence[str],
    *,
    max_tokens_per_batch: int = 4096,
) -> float:
    """Share of pairs whose good sentence gets the higher summed log-probability.

    Raises:
        ValueError: If there are no pairs or the lists differ in length.
    """
    if len(good) != len(bad) or not good:
        raise ValueError(
            f"pair_accuracy: got {len(good)} good and {len(bad)} bad sentences; pass the same "
            "number of each, at least one"
        )
    start = _start_token(tokenizer)
    sequences = [
        [*start, *ids] for ids in _encode(tokenizer, [*good, *bad], add_special_tokens=False)
    ]
    scored = _score(model, sequences, [1] * len(sequences), max_tokens_per_batch)
    totals = torch.stack([item.nll.sum() for item in scored])
    return (totals[: len(good)] < totals[len(good) :]).double().mean().item()


def _encode(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], *, add_special_tokens: bool = True
) -> list[list[int]]:
    return tokenizer(list(texts), add_special_tokens=add_special_tokens)["input_ids"]


def _start_token(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """What stands before the first token: BOS, else the end token, which models without it use."""
    for token in (tokenizer.bos_token_id, tokenizer.eos_token_id):
        if isinstance(token, int):
            return [token]
    return []


def _default_window(model: nn.Module, tokenizer: PreTrainedTokenizerBase) -> int:
    positions = context_length(model) or _DEFAULT_WINDOW
    return int(min(_DEFAULT_WINDOW, positions, tokenizer.model_max_length))


def _score(
    model: nn.Module, sequences: Sequence[Sequence[int]], starts: Sequence[int], budget: int
) -> list[_Scored]:
    """Score `sequence[start:]` for every sequence; start is at least 1.

    A sequence's last token is predicted but never read, so sequences that differ there alone,
    such as one prompt with two one-token targets, share a forward pass.
    """
    sharing: dict[tuple[int, ...], list[int]] = {}
    for index, sequence in enumerate(sequences):
        sharing.setdefault(tuple(sequence[:-1]), []).append(index)
    inputs = list(sharing)
    results: list[_Scored | None] = [None] * len(sequences)
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            for batch in _batches(inputs, budget):
                rows = [inputs[number] for number in batch]
                members = [sharing[row] for row in rows]
                first = min(starts[index] for group in members for index in group) - 1
                for group, logits in zip(members, _logits(model, rows, first), strict=True):
                    for index in group:
                        start = starts[index]
                        tokens = torch.tensor(sequences[index][start:], device=logits.device)
                        results[index] = _read(logits[start - 1 - first :], tokens)
    finally:
        model.train(training)
    return [item for item in results if item is not None]


def _batches(sequences: Sequence[Sequence[int]], budget: int) -> Iterator[list[int]]:
    """Indices in order of length, cut so that no padded batch exceeds the budget."""
    batch: list[int] = []
    for index in sorted(range(len(sequences)), key=lambda item: len(sequences[item])):
        if batch and (len(batch) + 1) * len(sequences[index]) > budget:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def _logits(model: nn.Module, rows: Sequence[Sequence[int]], first: int) -> Iterator[Tensor]:
    """Logits of each row from position `first` to its end, `[length - first, vocabulary]`."""
    lengths = [len(row) for row in rows]
    longest = max(lengths)
    device = entry_device(model)
    # The padded id is masked and never scored, so any valid id serves.
    padded = [[*row, *([row[0]] * (longest - len(row)))] for row in rows]
    ids = torch.tensor(padded, device=device)
    places = torch.arange(longest, device=device).expand(len(rows), longest)
    mask = (places < torch.tensor(lengths, device=device)[:, None]).long()
    accepted = inspect.signature(model.forward).parameters
    extra: dict[str, Any] = {}
    if "position_ids" in accepted:
        extra["position_ids"] = places.contiguous()
    skipped = 0
    if "logits_to_keep" in accepted:
        skipped = first
        extra["logits_to_keep"] = longest - skipped
    logits = model(input_ids=ids, attention_mask=mask, use_cache=False, **extra).logits
    for row, length in enumerate(lengths):
        yield logits[row, first - skipped : length - skipped]


def _read(logits: Tensor, tokens: Tensor) -> _Scored:
    wanted = logits.float()
    chosen = wanted.log_softmax(-1).gather(1, tokens[:, None]).squeeze(1)
    return _Scored((-chosen).cpu(), (wanted.argmax(-1) == tokens).cpu())
