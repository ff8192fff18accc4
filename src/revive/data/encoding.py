"""A prompt with its target as tokens: where one ends and the other begins.

A prompt's tokens are those that it has by itself: they are what the model reads when it is asked,
and what it answers comes after them. A tokenizer that reads the two together may put the end of
the prompt and the beginning of the target into one token ("这是" + "一个" has the token "是一个";
"is " + "Paris" has " Paris"). No answer to the prompt can hold such a token, so there the target
is tokenised by itself, as it would be at the beginning of a line.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from revive.data.prompts import Prompt
from revive.errors import SpecError

_ANCHORS = ("\n", ".", "a")


@dataclass(frozen=True, slots=True)
class Encoded:
    """A prompt and its target.

    Attributes:
        ids: The tokens of both.
        first: Index of the target's first token.
    """

    ids: tuple[int, ...]
    first: int


def encode_prompt(tokenizer: Any, prompt: Prompt) -> list[int]:
    """A prompt's tokens, without an end token that the tokenizer would append.

    Raises:
        SpecError: It has none.
    """
    return encode_prompts(tokenizer, [prompt])[0]


def encode_prompts(tokenizer: Any, prompts: Sequence[Prompt]) -> list[list[int]]:
    """The tokens of several prompts; see `encode_prompt`."""
    found = _encode(tokenizer, [(p.text, p.chat) for p in prompts])
    for prompt, ids in zip(prompts, found, strict=True):
        if not ids:
            raise SpecError(f"tokenizer: text {prompt.text!r} has no tokens.")
    return found


def encode_target(tokenizer: Any, prompt: Prompt, target: str) -> Encoded:
    """A prompt and its target; see `encode_targets`."""
    return encode_targets(tokenizer, [prompt], [target])[0]


def encode_targets(
    tokenizer: Any, prompts: Sequence[Prompt], targets: Sequence[str]
) -> list[Encoded]:
    """Prompts and their targets; what joins them counts as the target's.

    Raises:
        SpecError: A prompt or a target has no tokens.
    """
    distinct = list(dict.fromkeys(prompts))
    alone = dict(zip(distinct, encode_prompts(tokenizer, distinct), strict=True))
    after = [p.continuation(t) for p, t in zip(prompts, targets, strict=True)]
    texts = [(p.text + c, p.chat) for p, c in zip(prompts, after, strict=True)]
    found: list[Encoded] = []
    for prompt, target, rest, whole in zip(
        prompts, targets, after, _encode(tokenizer, texts), strict=True
    ):
        own = alone[prompt]
        if len(whole) <= len(own) or whole[: len(own)] != own:
            whole = [*own, *_continued(tokenizer, rest)] if target.strip() else own
        if not target.strip() or len(whole) == len(own):
            raise SpecError(f"target {target!r} after prompt {prompt.text!r} has no tokens.")
        found.append(Encoded(tuple(whole), len(own)))
    return found


def _continued(tokenizer: Any, text: str) -> list[int]:
    """Tokens of a text that something stands before, and has no token in common with.

    By itself a text may get a token for a word's beginning, which it does not have here.
    """
    for anchor in _ANCHORS:
        before: list[int] = tokenizer(anchor, add_special_tokens=False)["input_ids"]
        both: list[int] = tokenizer(anchor + text, add_special_tokens=False)["input_ids"]
        if before and both[: len(before)] == before and len(both) > len(before):
            return both[len(before) :]
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def _encode(tokenizer: Any, texts: Sequence[tuple[str, bool]]) -> list[list[int]]:
    """Tokens of texts, each with whether it brings its own special tokens."""
    found: dict[int, list[int]] = {}
    for chat in (False, True):
        places = [i for i, (_, own) in enumerate(texts) if own == chat]
        if not places:
            continue
        batch = tokenizer([texts[i][0] for i in places], add_special_tokens=not chat)["input_ids"]
        end = 0 if chat else _appended(tokenizer)
        found.update((i, ids[: len(ids) - end]) for i, ids in zip(places, batch, strict=True))
    return [found[i] for i in range(len(texts))]


def _appended(tokenizer: Any) -> int:
    """How many special tokens the tokenizer appends, EOS for instance; no part of a prompt."""
    plain: list[int] = tokenizer("a", add_special_tokens=False)["input_ids"]
    whole: list[int] = tokenizer("a")["input_ids"]
    begin = next(
        (i for i in range(len(whole)) if whole[i : i + len(plain)] == plain),
        len(whole) - len(plain),
    )
    return len(whole) - begin - len(plain)
