"""BLiMP: minimal pairs of sentences, one file a paradigm."""

from dataclasses import dataclass
from pathlib import Path
from typing import final

from revive.errors import SpecError
from revive.tasks.item import Item
from revive.tasks.sets.lettered import continuations
from revive.tasks.sets.records import objects, raw
from revive.tasks.task import Task


@final
@dataclass(frozen=True, kw_only=True)
class Blimp(Task):
    """A pair counts as right if the grammatical sentence is the likelier one as a whole.

    A space stands before each sentence, since lm-evaluation-harness, whose numbers are the ones
    that are published, joins choices to the empty prompt like to any other.
    """

    def read(self, path: Path) -> list[Item]:
        """Every pair of every `<paradigm>.jsonl`."""
        files = sorted(path.glob("*.jsonl")) if path.is_dir() else [path]
        if not files:
            raise SpecError(f"{path}: no data; blimp expects {self.expects}.")
        return [
            Item(
                prompt="",
                choices=continuations((raw(record, "sentence_good"), raw(record, "sentence_bad"))),
                group=file.stem,
                where=record.where,
            )
            for file in files
            for record in objects(file)
        ]


BLIMP = Blimp(
    name="blimp",
    summary="67 paradigms of grammatical minimal pairs",
    paper="arXiv:1912.00582",
    places=("blimp/*.jsonl", "blimp/data/*.jsonl", "BLiMP/*.jsonl", "BLiMP/data/*.jsonl"),
    up=1,
    expects="a folder blimp/ of <paradigm>.jsonl (JSON Lines with sentence_good, sentence_bad)",
    rules=("likelihood",),
    sample=670,
)
