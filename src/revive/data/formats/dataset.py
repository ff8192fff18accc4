"""What a dataset is: a way to turn records of a file into edits."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import ClassVar

from revive.data.edits import Edit
from revive.data.formats.records import Record, read_records


class Dataset(ABC):
    """One file format. Other packages add theirs in the entry-point group `revive.datasets`.

    Attributes:
        name: The name to write as `edits.format`.
        keys: Every key a record may have, where unknown ones deserve a warning; None where
            foreign files carry more than REVIVE reads.
    """

    name: ClassVar[str]
    keys: ClassVar[frozenset[str] | None] = None

    def records(self, path: str, *, limit: int | None, seed: int) -> Iterable[Record]:
        """The records behind `path`; a file's own unless overridden.

        Args:
            path: As written in the spec.
            limit: How many edits are wanted; only a generator may stop early.
            seed: For generators.
        """
        del limit, seed
        return read_records(path)

    def parts(self, record: Record) -> Sequence[Record]:
        """What is converted of a record, one edit each; itself unless a format packs several."""
        return (record,)

    def sequence(self, path: str, *, limit: int | None, seed: int) -> Iterable[Record]:
        """As `records`, where facts may come again with other targets.

        A file holds what it holds; a generator may go on for as long as it is asked to.
        """
        return self.records(path, limit=limit, seed=seed)

    @abstractmethod
    def matches(self, record: Record) -> bool:
        """Whether a file that starts with this record is in this format."""

    @abstractmethod
    def convert(self, record: Record) -> Edit | None:
        """One record as an edit, not yet checked against itself.

        Returns:
            The edit; None for a record of a published dataset that has nothing to write, such
            as zsRE's rows without an alternative answer.

        Raises:
            SpecError: The record is malformed.
        """
