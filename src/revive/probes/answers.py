"""What a model says where edits were made: greedy continuations of their prompts, in words."""

from collections.abc import Sequence
from typing import Any

from revive.data.edits import Edit
from revive.data.encoding import encode_targets
from revive.data.prompts import Prompts
from revive.metrics.outcomes import Outcomes
from revive.metrics.per_edit import EditRow, scored_row
from revive.probes.generate import generate

MORE = 4
"""Tokens beyond the new target's own, so that what follows it can be seen."""

_MOST = 32  # tokens: of a target that is longer the beginning tells


def answers(model: Any, tokenizer: Any, edits: Sequence[Edit]) -> list[str]:
    """The greedy continuation of every edit's prompt, a few tokens longer than its new target.

    Batched, with keys and values kept: one pass over the prompts and one short step a token.

    Args:
        model: Causal language model; its training mode is left as found.
        tokenizer: Its tokenizer.
        edits: What is asked for.
    """
    if not edits:
        return []
    prompts = [*map(Prompts(tokenizer).of, edits)]
    found = encode_targets(tokenizer, prompts, [edit.target_new for edit in edits])
    lengths = [min(len(e.ids) - e.first + MORE, _MOST) for e in found]
    said = generate(model, tokenizer, prompts, new_tokens=lengths)
    return [one.continuation.strip() for one in said]


def edit_row(edit: Edit, outcomes: Outcomes, place: int | None) -> EditRow:
    """The row of an edit in a table, with what was measured of it.

    Args:
        edit: The edit.
        outcomes: What was measured of several.
        place: The edit's, in them; None if it was not measured.
    """
    row = EditRow(
        edit.id,
        edit.text,
        edit.target_new,
        edit.target_true,
        chat=bool(edit.chat),
        paraphrases=len(edit.paraphrases),
    )
    return row if place is None else scored_row(row, outcomes, place)
