"""The likelihood rule: log-probability of every choice of every item."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import nn
from transformers import PreTrainedTokenizerBase

from revive.models.forward.runner import context_length
from revive.scoring.score import score_sequences
from revive.scoring.task_encoding import encode_choices
from revive.tasks.item import Item

Progress = Callable[[int, int], None]
"""Told how many items are done, and of how many."""

_CHUNK = 32  # items between two reports of progress


@dataclass(frozen=True, slots=True)
class ChoiceScores:
    """Scores of one item's choices, in their order.

    Attributes:
        sums: Summed log-probability of each, in nats.
        exact: Whether each is the greedy continuation.
    """

    sums: tuple[float, ...]
    exact: tuple[bool, ...]


def score_choices(
    model: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    items: Sequence[Item],
    *,
    max_tokens_per_batch: int = 4096,
    progress: Progress | None = None,
) -> list[ChoiceScores]:
    """Score every choice, in the items' order.

    Args:
        model: Causal language model; its training mode is left as found.
        tokenizer: Its tokenizer.
        items: Items with choices.
        max_tokens_per_batch: Upper bound on padded tokens per forward pass.
        progress: Told of every few dozen items.

    Raises:
        SpecError: A choice has no tokens.
    """
    room = context_length(model)
    encoded = [encode_choices(tokenizer, item, room) for item in items]
    # Alike lengths make full batches; items behind the same examples share their beginning.
    order = sorted(
        range(len(items)), key=lambda i: (items[i].shots, max(len(e.ids) for e in encoded[i]))
    )
    found: dict[int, ChoiceScores] = {}
    for begin in range(0, len(order), _CHUNK):
        chunk = order[begin : begin + _CHUNK]
        rows = [row for index in chunk for row in encoded[index]]
        scored = iter(
            score_sequences(
                model,
                [row.ids for row in rows],
                [row.start for row in rows],
                max_tokens_per_batch=max_tokens_per_batch,
            )
        )
        for index in chunk:
            scores = [next(scored) for _ in encoded[index]]
            found[index] = ChoiceScores(
                tuple(-float(s.nll.double().sum()) for s in scores),
                tuple(bool(s.hit.all()) for s in scores),
            )
        if progress is not None:
            progress(len(found), len(items))
    return [found[index] for index in range(len(items))]


def best(item: Item, scores: ChoiceScores, *, per_character: bool) -> int | None:
    """The likeliest choice, by sum or by sum per character.

    None where two share the first place, or scores are not numbers: the order of the choices
    must not make a broken model right.
    """
    lengths = [len(c.strip()) for c in item.choices] if per_character else [1] * len(item.choices)
    values = [value / length for value, length in zip(scores.sums, lengths, strict=True)]
    if any(math.isnan(value) for value in values) or values.count(max(values)) > 1:
        return None
    return values.index(max(values))
