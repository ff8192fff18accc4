"""REVIVE's own edit file: one JSON object a line."""

from typing import ClassVar, final

from revive.data.dataset import Dataset
from revive.data.edits import Edit, MultiHop, Neighbor, Question
from revive.data.fields import identifier, items, nested, optional_text, text, texts
from revive.data.records import Record
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
    }
)


@final
class EditFile(Dataset):
    """`prompt`, `subject` and `target_new`, and whatever is known besides.

    `portability` is a list of `{"prompt": ..., "answers": [...]}`, `multi_hop` one of
    `{"questions": [...], "answers": [...]}`; the other fields are lists of texts.
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
            relation=optional_text(record, "relation"),
            attribute_prompts=texts(record, "attribute_prompts"),
            portability=tuple(
                _question(record, q) for q in items(record.fields.get("portability"))
            ),
            multi_hop=tuple(_chain(record, c) for c in items(record.fields.get("multi_hop"))),
            generation_prompts=texts(record, "generation_prompts"),
            references=texts(record, "references"),
        )


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
