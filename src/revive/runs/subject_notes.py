"""What an edit's subject says of its chances: editors write where the subject ends."""

from collections.abc import Sequence
from typing import Any

from revive.data.edits import Edit
from revive.data.prompts import Prompts


def shared_keys(edits: Sequence[Edit]) -> dict[str, str]:
    """By id, the first other edit whose text is the same up to the end of the subject.

    What a causal model computes there is the same for both, whatever stands behind it.
    """
    groups: dict[tuple[bool, str], list[str]] = {}
    for edit in edits:
        before, _, _ = edit.template.rpartition("{}")
        groups.setdefault((bool(edit.chat), before + edit.subject), []).append(edit.id)
    found: dict[str, str] = {}
    for ids in groups.values():
        if len(ids) > 1:
            found.update({name: ids[1] if name == ids[0] else ids[0] for name in ids})
    return found


def subject_note(tokenizer: Any, edit: Edit) -> str:
    """What is unfortunate about the tokens of an edit's subject; empty if nothing is.

    Args:
        tokenizer: Of the model; one without character offsets tells nothing.
        edit: The edit, its subject in its prompt.
    """
    if not getattr(tokenizer, "is_fast", False):
        return ""
    before, _, after = edit.template.rpartition("{}")
    placed = Prompts(tokenizer).placed(edit, before, after)
    text, end = placed.prompt.text, placed.subject_end
    encoded = tokenizer(
        text, return_offsets_mapping=True, add_special_tokens=not placed.prompt.chat
    )
    spans = [(int(a), int(b)) for a, b in encoded["offset_mapping"]]
    covering = [i for i, (start, stop) in enumerate(spans) if start < end <= stop]
    if not covering:
        return ""
    last = covering[-1]
    if last == 0:
        return (
            "its subject is the text's first token, where what a model computes hardly depends on "
            "the token"
        )
    if spans[last][1] > end:
        token = text[spans[last][0] : spans[last][1]]
        return f"its subject ends inside a token ({token!r})"
    return ""
