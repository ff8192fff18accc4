"""Log-probabilities of given tokens under any Hugging Face causal language model.

How sequences are batched is `scoring.token_scores`; it does not matter beyond rounding.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from revive.data.encoding import encode_targets
from revive.data.prompts import Prompt
from revive.errors import SpecError
from revive.models.forward.runner import context_length
from revive.scoring.token_scores import Scored, score_tokens

_DEFAULT_WINDOW = 512  # tokens


@dataclass(frozen=True)
class TargetScores:
    """Scores of n targets, in input order.

    Attributes:
        nll: [n] mean negative log-likelihood per target token, in nats, float32.
        exact: [n] whether every target token is the model's first choice given the ones before,
            which is to say that greedy generation would begin with them.
        accuracy: [n] share of the target tokens that are, float32.
    """

    nll: Tensor
    exact: Tensor
    accuracy: Tensor


def score_targets(
    model: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str | Prompt],
    targets: Sequence[str],
    *,
    max_tokens_per_batch: int = 4096,
) -> TargetScores:
    """Score each target as the continuation of its prompt, joined as the prompt asks for.

    Of a prompt that is longer than the model's context, the end is read, as the evaluation
    harnesses do.

    Args:
        model: Causal language model; its training mode is left as found.
        tokenizer: Its tokenizer. Special tokens are added the way it adds them to the prompt.
        prompts: Texts that end right before the target, or prompts in an edit's form.
        targets: Continuations, with their own white space.
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
        return TargetScores(torch.zeros(0), torch.zeros(0, dtype=torch.bool), torch.zeros(0))
    asked = [prompt if isinstance(prompt, Prompt) else Prompt(prompt) for prompt in prompts]
    try:
        encoded = encode_targets(tokenizer, asked, targets)
    except SpecError as error:
        raise ValueError(
            f"score_targets: {error} Give a prompt and a target that can be scored."
        ) from error
    sequences = [list(e.ids) for e in encoded]
    starts = [e.first for e in encoded]
    room = context_length(model)
    if room is not None:
        starts = [max(1, s - max(0, len(i) - room)) for s, i in zip(starts, sequences, strict=True)]
        sequences = [ids[-room:] for ids in sequences]
    scored = score_tokens(model, sequences, starts, max_tokens_per_batch)
    return TargetScores(
        nll=torch.stack([item.nll.mean() for item in scored]),
        exact=torch.stack([item.hit.all() for item in scored]),
        accuracy=torch.stack([item.hit.float().mean() for item in scored]),
    )


def score_sequences(
    model: nn.Module,
    sequences: Sequence[Sequence[int]],
    starts: Sequence[int],
    *,
    max_tokens_per_batch: int = 4096,
) -> list[Scored]:
    """Score the tokens of each sequence from `start` on, given those before.

    Args:
        model: Causal language model; its training mode is left as found.
        sequences: Token ids. Nothing is added, and nothing is cut off.
        starts: First scored token of each, at least 1.
        max_tokens_per_batch: Upper bound on padded tokens per forward pass.

    Raises:
        ValueError: If the lists differ in length or a start leaves nothing to score.
    """
    if len(sequences) != len(starts):
        raise ValueError(
            f"score_sequences: {len(sequences)} sequences but {len(starts)} starts; pass one each"
        )
    for ids, start in zip(sequences, starts, strict=True):
        if not 0 < start < len(ids):
            raise ValueError(
                f"score_sequences: start {start} of a sequence of {len(ids)} tokens; it must be "
                "at least 1 and before the end"
            )
    return score_tokens(model, sequences, starts, max_tokens_per_batch)


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
    scored = score_tokens(model, sequences, firsts, max_tokens_per_batch)
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
    scored = score_tokens(model, sequences, [1] * len(sequences), max_tokens_per_batch)
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
