"""Edits for the lab model, drawn from the facts it knows."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, cast, final

from revive.data.edits import Edit
from revive.data.formats.dataset import Dataset
from revive.data.formats.jsonl import KEYS, EditFile
from revive.data.formats.records import Record
from revive.errors import SpecError

if TYPE_CHECKING:
    from revive.lab.stream import EditRecord


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
        from revive.lab.stream import edit_records, editable_count

        editable = editable_count()
        count = editable if limit is None else limit
        if count > editable:
            raise SpecError(
                f"edits.limit: {count} edits asked, but the lab model has {editable} facts that "
                f"may be edited; ask for at most {editable}, or set edits.on_conflict: sequence to "
                "edit them again, round after round, with other targets."
            )
        return _placed(path, edit_records(count, seed))

    def sequence(self, path: str, *, limit: int | None, seed: int) -> Iterable[Record]:
        """Draw `limit` edits, round after round; one round if there is no limit."""
        from revive.lab.stream import editable_count, repeated_records

        return _placed(path, repeated_records(editable_count() if limit is None else limit, seed))

    def matches(self, record: Record) -> bool:
        """Never: the stream is asked for by name."""
        del record
        return False

    def convert(self, record: Record) -> Edit:
        """One drawn edit."""
        return EditFile().convert(record)


def _placed(path: str, drawn: "Sequence[EditRecord]") -> list[Record]:
    return [
        Record(f"{path}, edit {n}", n, cast("Mapping[str, object]", fields))
        for n, fields in enumerate(drawn, start=1)
    ]
