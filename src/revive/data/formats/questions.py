"""Questions with several accepted answers, in the spellings of EasyEdit and KnowEdit."""

from collections.abc import Sequence

from revive.data.edits import Question
from revive.data.formats.fields import child, items, nested, texts
from revive.data.formats.records import Record

_ASKED, _ANSWERED = "New Question", "New Answer"


def questions(record: Record, value: object) -> list[Question]:
    """A list of `{prompt, ground_truth}`; those without an answer are left out."""
    rows = [nested(record, row, "question") for row in items(value)]
    found = [
        (text, answers(row.fields.get("ground_truth"))) for row in rows for text in _first(row)
    ]
    return [Question(prompt, accepted) for prompt, accepted in found if accepted]


def answers(value: object) -> tuple[str, ...]:
    """A text, a list of texts, or a list of lists of aliases: all of them, in order, once."""
    flat = (alias for entry in items(value) for alias in items(entry))
    return distinct([a for a in flat if isinstance(a, str) and a.strip()])


def distinct(found: Sequence[str]) -> tuple[str, ...]:
    """Texts in order, without blanks and repeats."""
    return tuple(dict.fromkeys(text for text in found if text))


def portability(record: Record) -> tuple[Question, ...]:
    """The questions of portability of a record, whichever way they are written.

    KnowEdit has a dictionary of lists of questions (arXiv 2401.01286), EasyEdit's first files one
    `New Question` with its `New Answer` (arXiv 2305.13172), its flat ones `portability_prompt`
    and `portability_ground_truth`.
    """
    found: list[Question] = []
    asked = child(record, "portability")
    if _ASKED in asked.fields:
        accepted = answers(asked.fields.get(_ANSWERED))
        found += [Question(prompt, accepted) for prompt in texts(asked, _ASKED) if accepted]
    else:
        for group in asked.fields.values():
            found += questions(asked, group)
    accepted = answers(record.fields.get("portability_ground_truth"))
    if accepted:
        found += [Question(prompt, accepted) for prompt in texts(record, "portability_prompt")]
    return tuple(found)


def _first(row: Record) -> tuple[str, ...]:
    return texts(row, "prompt")[:1]
