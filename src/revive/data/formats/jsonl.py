"""REVIVE's own edit file: one JSON object a line."""

from typing import ClassVar, final

from revive.data.edits import Edit, MultiHop, Neighbor, Question
from revive.data.formats.dataset import Dataset
from revive.data.formats.fields import (
    form,
    identifier,
    items,
    label,
    nested,
    optional_text,
    text,
    texts,
)
from revive.data.formats.records import Record, kind
from revive.data.joining import AUTO
from revive.errors import SpecError

KEYS = frozenset(
    {
        "id",
        "prompt",
        "subject",
        "target_new",
        "target_true",
        "paraphrases",
        "neighborhood",
        "relation",
        "attribute_prompts",
        "portability",
        "multi_hop",
        "generation_prompts",
        "references",
        "chat",
        "joiner",
    }
)


@final
class EditFile(Dataset):
    """`prompt`, `subject` and `target_new`, and whatever is known besides.

    `portability` is a list of `{"prompt": ..., "answers": [...]}`, `multi_hop` one of
    `{"questions": [...], "answers": [...]}`; `chat` is true, false or "both", and `joiner` what
    stands between prompt and target (`auto` if it is not given); the other fields are lists of
    texts. Texts keep their white space.
    """

    name: ClassVar[str] = "jsonl"
    keys: ClassVar[frozenset[str] | None] = KEYS

    def matches(self, record: Record) -> bool:
        """Any record with one of the three needed fields; the last format to be tried."""
        return bool({"prompt", "subject", "target_new"} & set(record.fields))

    def convert(self, record: Record) -> Edit:
        """One line as an edit."""
        neighbors = [nested(record, n, "neighborhood") for n in items(_neighborhood(record))]
        return Edit(
            prompt=text(record, "prompt"),
            subject=text(record, "subject"),
            target_new=text(record, "target_new"),
            target_true=optional_text(record, "target_true"),
            id=identifier(record, "id"),
            paraphrases=texts(record, "paraphrases"),
            neighborhood=tuple(Neighbor(text(n, "prompt"), text(n, "target")) for n in neighbors),
            relation=label(record, "relation"),
            attribute_prompts=texts(record, "attribute_prompts"),
            portability=tuple(
                _question(record, q) for q in items(record.fields.get("portability"))
            ),
            multi_hop=tuple(_chain(record, c) for c in items(record.fields.get("multi_hop"))),
            generation_prompts=texts(record, "generation_prompts"),
            references=texts(record, "references"),
            chat=form(record),
            joiner=_joiner(record),
        )


def _joiner(record: Record) -> str:
    wanted = record.fields.get("joiner")
    if wanted is None:
        return AUTO
    if not isinstance(wanted, str):
        raise SpecError(
            f'{record.where}: joiner must be text, got {kind(wanted)}; for example " ".'
        )
    return wanted


def _neighborhood(record: Record) -> object:
    return record.fields.get("neighborhood")


def _question(record: Record, value: object) -> Question:
    row = nested(record, value, "portability")
    return Question(text(row, "prompt"), _some(row, "answers"))


def _chain(record: Record, value: object) -> MultiHop:
    row = nested(record, value, "multi_hop")
    return MultiHop(_some(row, "questions"), _some(row, "answers"))


def _some(row: Record, key: str) -> tuple[str, ...]:
    found = texts(row, key)
    if not found:
        raise SpecError(f"{row.where}: {key} is missing or empty; name at least one.")
    return found
