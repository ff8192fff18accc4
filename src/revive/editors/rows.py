"""Tokenised rows of an edit: where the subject ends, where the target is predicted.

Positions come from character offsets, so they hold with and without BOS, and when the subject's
last character shares a token with something else.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from revive.data.edits import Edit
from revive.errors import SpecError


@dataclass(frozen=True, slots=True)
class Row:
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
class EditRows:
    """All rows of one edit.

    Attributes:
        rewrite: The plain prompt first, then one row per context.
        essence: The row "{subject} is a", whose next-token distribution must stay.
    """

    rewrite: tuple[Row, ...]
    essence: Row


def encode_edit(
    tokenizer: Any, edit: Edit, contexts: Sequence[str], max_length: int | None = None
) -> EditRows:
    """Tokenise an edit in its contexts.

    Args:
        tokenizer: A fast Hugging Face tokenizer.
        edit: The edit.
        contexts: Texts that stand before the prompt, each ended by ". ".
        max_length: The model's context length, if limited.

    Raises:
        SpecError: The subject is not in the prompt, the target is empty, or the rows do not fit.
    """
    template = edit.template
    if "{}" not in template:
        raise SpecError(
            f"edit {edit.id or edit.text!r}: subject {edit.subject!r} is not in the prompt "
            f"{edit.prompt!r}; write it there or use {{}}."
        )
    target = edit.target_new.strip()
    if not target:
        raise SpecError(f"edit {edit.id or edit.text!r}: target_new is empty.")
    prefixes = ("", *(f"{context}. " for context in contexts))
    rows = tuple(_target_row(tokenizer, p, template, edit.subject, target) for p in prefixes)
    essence = _lookup_row(tokenizer, edit.subject, " is a")
    longest = max(len(r.input_ids) for r in (*rows, essence))
    if max_length is not None and longest > max_length:
        raise SpecError(
            f"edit {edit.id or edit.text!r}: {longest} tokens with its contexts, the model takes "
            f"{max_length}; shorten the prompt or the subject."
        )
    return EditRows(rows, essence)


def _target_row(tokenizer: Any, prefix: str, template: str, subject: str, target: str) -> Row:
    before, _, after = template.rpartition("{}")
    prompt = f"{prefix}{before}{subject}{after}"
    ids, offsets = _encode(tokenizer, f"{prompt} {target}")
    first = next(i for i, (start, end) in enumerate(offsets) if end > len(prompt) and end > start)
    subject_end = len(prefix) + len(before) + len(subject)
    return Row(
        input_ids=tuple(ids[:-1]),
        lookup=_token_at(offsets, subject_end - 1),
        positions=tuple(range(first - 1, len(ids) - 1)),
        labels=tuple(ids[first:]),
    )


def _lookup_row(tokenizer: Any, subject: str, after: str) -> Row:
    ids, offsets = _encode(tokenizer, f"{subject}{after}")
    lookup = _token_at(offsets, len(subject) - 1)
    # Causal attention: nothing after the subject's last token can be seen there.
    return Row(input_ids=tuple(ids[: lookup + 1]), lookup=lookup)


def _encode(tokenizer: Any, text: str) -> tuple[list[int], list[tuple[int, int]]]:
    if not getattr(tokenizer, "is_fast", False):
        raise SpecError(
            "tokenizer: a fast tokenizer is needed (character offsets); convert it with "
            "AutoTokenizer.from_pretrained(..., use_fast=True)."
        )
    encoded = tokenizer(text, return_offsets_mapping=True)
    offsets = [(int(a), int(b)) for a, b in encoded["offset_mapping"]]
    return _drop_trailing_specials(tokenizer, text, list(encoded["input_ids"]), offsets)


def _drop_trailing_specials(
    tokenizer: Any, text: str, ids: list[int], offsets: list[tuple[int, int]]
) -> tuple[list[int], list[tuple[int, int]]]:
    """Some tokenizers append EOS, which is no part of a prompt."""
    special = set(tokenizer.all_special_ids)
    end = len(ids)
    while end and ids[end - 1] in special and offsets[end - 1][0] == offsets[end - 1][1]:
        end -= 1
    if end == 0:
        raise SpecError(f"tokenizer: text {text!r} has no tokens.")
    return ids[:end], offsets[:end]


def _token_at(offsets: Sequence[tuple[int, int]], character: int) -> int:
    """Index of the last token that covers a character."""
    covering = [i for i, (start, end) in enumerate(offsets) if start <= character < end]
    if not covering:
        # Metaspace tokenizers may leave a character outside every offset: take the last before it.
        covering = [i for i, (start, end) in enumerate(offsets) if start < end <= character + 1]
    return covering[-1]
