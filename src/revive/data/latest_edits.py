"""Of several edits of one fact, the latest stands; the others are superseded."""

from collections.abc import Iterable, Sequence

from revive.data.edits import Edit

Fact = tuple[str, str, bool]


def fact_of(edit: Edit) -> Fact:
    """What an edit is about: its subject, its prompt with the subject filled in, and its form.

    A sentence and a chat are different places in the model. White space around a prompt is none.
    """
    return edit.subject, edit.text.strip(), bool(edit.chat)


def latest_edits(edits: Sequence[Edit]) -> tuple[Edit, ...]:
    """The latest edit of every fact, in the order in which they were made."""
    latest = {fact_of(edit): place for place, edit in enumerate(edits)}
    return tuple(edit for place, edit in enumerate(edits) if latest[fact_of(edit)] == place)


def predecessors(edits: Iterable[Edit]) -> dict[str, str]:
    """By id of an edit that supersedes one, the id of that one."""
    latest: dict[Fact, str] = {}
    found: dict[str, str] = {}
    for edit in edits:
        fact = fact_of(edit)
        if fact in latest:
            found[edit.id] = latest[fact]
        latest[fact] = edit.id
    return found
