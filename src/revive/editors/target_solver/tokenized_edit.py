"""Tokenised rows of an edit: where the subject ends, where the target is predicted.

The subject is found by character offsets, so that it is with and without BOS, and when its last
character shares a token with something else. Where the target begins is `data.encoding`'s.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from revive.data.edits import Edit
from revive.data.encoding import Encoded, encode_prompt, encode_targets
from revive.data.prompts import Placed, Prompts
from revive.errors import SpecError


@dataclass(frozen=True, slots=True)
class TokenizedPrompt:
    """One tokenised text.

    Attributes:
        input_ids: The tokens that are fed.
        lookup: Index of the subject's last token.
        positions: Indices at which the target tokens are predicted.
        labels: The target tokens, one per position.
    """

    input_ids: tuple[int, ...]
    lookup: int
    positions: tuple[int, ...] = ()
    labels: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class TokenizedEdit:
    """All rows of one edit.

    Attributes:
        rewrite: The plain prompt first, then one row per context.
        essence: The row "{subject} is a", whose next-token distribution must stay.
    """

    rewrite: tuple[TokenizedPrompt, ...]
    essence: TokenizedPrompt


def encode_edit(
    tokenizer: Any,
    edit: Edit,
    contexts: Sequence[str],
    max_length: int | None = None,
    prompts: Prompts | None = None,
) -> TokenizedEdit:
    """Tokenise an edit in its contexts.

    In a chat a context is the sentence before the prompt in the user's message, and the essence is
    a message as well: all rows are of the form that is edited.

    Args:
        tokenizer: A fast Hugging Face tokenizer.
        edit: The edit.
        contexts: Texts that stand before the prompt, each ended by ". ".
        max_length: The model's context length, if limited.
        prompts: Of that tokenizer, where many edits share them.

    Raises:
        SpecError: The subject is not in the prompt, the target is empty, or the rows do not fit.
    """
    prompts = Prompts(tokenizer) if prompts is None else prompts
    template = edit.template
    if "{}" not in template:
        raise SpecError(
            f"edit {edit.id or edit.text!r}: subject {edit.subject!r} is not in the prompt "
            f"{edit.prompt!r}; write it there or use {{}}."
        )
    if not edit.target_new.strip():
        raise SpecError(f"edit {edit.id or edit.text!r}: target_new is empty.")
    before, _, after = template.rpartition("{}")
    starts = ("", *(f"{context}. " for context in contexts))
    placed = [prompts.placed(edit, f"{start}{before}", after) for start in starts]
    asked = prompts.placed(edit, "", " is a")
    *lookups, lookup = _lookups(tokenizer, [*placed, asked])
    found = encode_targets(tokenizer, [p.prompt for p in placed], [edit.target_new] * len(placed))
    rows = tuple(_row(encoded, at) for encoded, at in zip(found, lookups, strict=True))
    # Causal attention: nothing after the subject's last token can be seen there.
    essence = TokenizedPrompt(tuple(encode_prompt(tokenizer, asked.prompt)[: lookup + 1]), lookup)
    longest = max(len(r.input_ids) for r in (*rows, essence))
    if max_length is not None and longest > max_length:
        raise SpecError(
            f"edit {edit.id or edit.text!r}: {longest} tokens with its contexts, the model takes "
            f"{max_length}; shorten the prompt or the subject."
        )
    return TokenizedEdit(rows, essence)


def _row(found: Encoded, lookup: int) -> TokenizedPrompt:
    return TokenizedPrompt(
        input_ids=found.ids[:-1],
        lookup=lookup,
        positions=tuple(range(found.first - 1, len(found.ids) - 1)),
        labels=found.ids[found.first :],
    )


def _lookups(tokenizer: Any, placed: Sequence[Placed]) -> list[int]:
    """Index of the token that holds the subject's last character, in each prompt of one form."""
    if not getattr(tokenizer, "is_fast", False):
        raise SpecError(
            "tokenizer: a fast tokenizer is needed (character offsets); convert it with "
            "AutoTokenizer.from_pretrained(..., use_fast=True)."
        )
    encoded = tokenizer(
        [p.prompt.text for p in placed],
        return_offsets_mapping=True,
        add_special_tokens=not placed[0].prompt.chat,
    )
    return [
        _token_at([(int(a), int(b)) for a, b in offsets], p.subject_end - 1)
        for p, offsets in zip(placed, encoded["offset_mapping"], strict=True)
    ]


def _token_at(offsets: Sequence[tuple[int, int]], character: int) -> int:
    """Index of the last token that covers a character."""
    covering = [i for i, (start, end) in enumerate(offsets) if start <= character < end]
    if not covering:
        # Metaspace tokenizers may leave a character outside every offset: take the last before it.
        covering = [i for i, (start, end) in enumerate(offsets) if start < end <= character + 1]
    return covering[-1]
