"""Edits for the lab model, drawn from the facts it knows."""

from collections.abc import Iterable, Mapping
from typing import ClassVar, cast, final

from revive.data.dataset import Dataset
from revive.data.edits import Edit
from revive.data.jsonl import KEYS, EditFile
from revive.data.records import Record
from revive.errors import SpecError


@final
class LabStream(Dataset):
    """A stream of counterfactual edits; `path: lab` in a spec."""

    name: ClassVar[str] = "lab"
    keys: ClassVar[frozenset[str] | None] = KEYS

    def records(self, path: str, *, limit: int | None, seed: int) -> Iterable[Record]:
        """Draw `limit` edits, or as many as there are facts that may be edited.

        Raises:
            SpecError: More edits are wanted than there are such facts.
        """
        from revive.lab.facts import load_facts
        from revive.lab.stream import edit_records

        editable = sum(fact.split == "editable" for fact in load_facts())
        count = editable if limit is None else limit
        if count > editable:
            raise SpecError(
                f"edits.limit: {count} edits asked, but the lab model has {editable} facts that "
                f"may be edited; ask for at most {editable}."
            )
        return [
            Record(f"{path}, edit {n}", n, cast("Mapping[str, object]", fields))
            for n, fields in enumerate(edit_records(count, seed), start=1)
        ]

    def matches(self, record: Record) -> bool:
        """Never: the stream is asked for by name."""
        del record
        return False

    def convert(self, record: Record) -> Edit:
        """One drawn edit."""
        return EditFile().convert(record)
