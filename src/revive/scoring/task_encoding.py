"""Items as token ids: where context ends and the scored text begins, and what fits the model."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from transformers import PreTrainedTokenizerBase

from revive.errors import SpecError
from revive.tasks.item import Item

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class EncodedItem:
    """A text to score.

    Attributes:
        ids: Context and scored text.
        start: Where the scored text begins; at least 1.
    """

    ids: list[int]
    start: int


def encode_choices(
    tokenizer: PreTrainedTokenizerBase, item: Item, room: int | None
) -> list[EncodedItem]:
    """Every choice of an item in its context.

    As the evaluation harness does it: context and choice are tokenized together, spaces at the
    context's end count for the choice, an empty context is the start token, and what is too long
    loses its beginning. Worked examples go first, one by one.

    Args:
        tokenizer: Special tokens are added where it adds them.
        item: The question.
        room: Most tokens that the model reads, or None.

    Raises:
        SpecError: A choice has no tokens.
    """
    pairs = [
        (f"{item.prompt}{choice}", item.ending) if item.ending else (item.prompt, choice)
        for choice in item.choices
    ]

    def encoded(opening: str) -> list[EncodedItem]:
        return [_pair(tokenizer, opening + context, text, item.where) for context, text in pairs]

    # The last token is predicted and never read.
    limit = None if room is None else room + 1
    found = _fitted(item, limit, encoded, lambda rows: max(len(row.ids) for row in rows))
    if limit is None:
        return found
    return [
        EncodedItem(e.ids[-limit:], max(1, e.start - max(0, len(e.ids) - limit))) for e in found
    ]


def encode_question(
    tokenizer: PreTrainedTokenizerBase, item: Item, room: int | None, answer: int
) -> list[int]:
    """The prompt of the generation rule, with room for the answer's tokens."""
    question = item.question or item.prompt

    def encoded(opening: str) -> list[int]:
        return tokenizer(opening + question.rstrip(), verbose=False)["input_ids"]

    limit = None if room is None else max(1, room - answer)
    found = _fitted(item, limit, encoded, len)
    return found if limit is None else found[-limit:]


def _fitted(
    item: Item, limit: int | None, encoded: Callable[[str], T], length: Callable[[T], int]
) -> T:
    """The encoding with as many worked examples as fit, the last ones."""
    shots: Sequence[str] = item.shots
    while True:
        found = encoded(item.preamble + "".join(shots))
        if not shots or limit is None or length(found) <= limit:
            return found
        shots = shots[1:]


def _pair(tokenizer: PreTrainedTokenizerBase, context: str, text: str, where: str) -> EncodedItem:
    kept = context.rstrip()
    text = context[len(kept) :] + text
    if not kept:
        ids: list[int] = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        opening = start_token(tokenizer)
        # A sentence that brings its start token needs no second one; without one to be had, the
        # first token is given.
        if not opening or ids[:1] == opening:
            found = EncodedItem(ids, 1)
        else:
            found = EncodedItem([*opening, *ids], 1)
    else:
        whole: list[int] = tokenizer(kept + text, verbose=False)["input_ids"]
        before: list[int] = tokenizer(kept, verbose=False)["input_ids"]
        # A tokenizer may join the choice to the context's last token: that token is scored.
        found = EncodedItem(whole, max(1, min(len(before), len(whole) - 1)))
    if len(found.ids) < 2 or not text.strip():
        raise SpecError(f"{where}: choice {text!r} has no tokens that can be scored.")
    return found


def start_token(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """What stands before the first token: BOS, else the end token, which models without it use."""
    for token in (tokenizer.bos_token_id, tokenizer.eos_token_id):
        if isinstance(token, int):
            return [token]
    return []
