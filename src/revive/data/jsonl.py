"""REVIVE's own edit file: one JSON object a line."""

from typing import ClassVar, final

from revive.data.dataset import Dataset
from revive.data.edits import Edit, Neighbor
from revive.data.fields import identifier, items, nested, optional_text, text, texts
from revive.data.records import Record

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
    }
)


@final
class EditFile(Dataset):
    """`prompt`, `subject` and `target_new`, and whatever is known besides."""

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
        )


def _neighborhood(record: Record) -> object:
    return record.fields.get("neighborhood")
