"""A table with a header: the edit file's fields as columns."""

import re
from typing import ClassVar, final

from revive.data.edits import Edit, Neighbor
from revive.data.formats.dataset import Dataset
from revive.data.formats.fields import form, identifier, label, optional_text, text
from revive.data.formats.records import Record
from revive.errors import SpecError

_SEPARATOR = re.compile(r"\s*\|\s*")


@final
class CsvFile(Dataset):
    """Columns `prompt, subject, target_new`, and where known `target_true, id, relation, chat`.

    `chat` is true, false or both, as in the edit file. `paraphrases` holds several in one cell,
    separated by `|`; `neighborhood_prompt` and `neighborhood_target` hold one neighbour. Comma,
    semicolon and tab separate cells; blanks after them are no part of a text unless the cell is
    quoted, nor are those around `|`.
    """

    name: ClassVar[str] = "csv"
    keys: ClassVar[frozenset[str] | None] = frozenset(
        {
            "id",
            "prompt",
            "subject",
            "target_new",
            "target_true",
            "paraphrases",
            "neighborhood_prompt",
            "neighborhood_target",
            "relation",
            "chat",
        }
    )

    def matches(self, record: Record) -> bool:
        """Any table."""
        return record.tabular

    def convert(self, record: Record) -> Edit:
        """One row as an edit."""
        cell = optional_text(record, "paraphrases") or ""
        return Edit(
            prompt=text(record, "prompt"),
            subject=text(record, "subject"),
            target_new=text(record, "target_new"),
            target_true=optional_text(record, "target_true"),
            id=identifier(record, "id"),
            paraphrases=tuple(p for p in _SEPARATOR.split(cell) if p.strip()),
            neighborhood=_neighborhood(record),
            relation=label(record, "relation"),
            chat=form(record),
        )


def _neighborhood(record: Record) -> tuple[Neighbor, ...]:
    prompt = optional_text(record, "neighborhood_prompt")
    target = optional_text(record, "neighborhood_target")
    if (prompt is None) != (target is None):
        raise SpecError(
            f"{record.where}: neighborhood_prompt and neighborhood_target need each other; fill "
            "both cells or none."
        )
    return () if prompt is None or target is None else (Neighbor(prompt, target),)
