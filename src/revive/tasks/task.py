"""What a task is: a reader of a public test set, and what its score is."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from revive.errors import SpecError
from revive.tasks.item import Item

Rule = Literal["likelihood", "generation"]
RULES: tuple[Rule, ...] = ("likelihood", "generation")

_LEVELS = ("", "*/", "*/*/")


@dataclass(frozen=True, kw_only=True)
class Task(ABC):
    """One test set. Other packages add theirs in the entry-point group `revive.tasks`.

    Attributes:
        name: The name to ask for it by.
        summary: One line.
        paper: Where the set was published.
        version: Of prompts and scoring; results of different versions must not be compared.
        places: Where the data stand under a data folder or up to two folders below it: patterns,
            the first that matches is taken.
        up: How many folders above a match the data as a whole stand: 0 for a file.
        expects: The form of the file or folder, in words, for whoever has to provide it.
        rules: Rules that can score it; the first is the default.
        per_character: Whether the headline accuracy divides a choice's log-likelihood by its
            length in characters. The field does so where the choices are free text of unequal
            length (ARC-Challenge, PIQA, OpenBookQA), and else compares plain sums.
        word: Whether an item's only choice counts as right if it is the model's own greedy
            continuation.
        classes: Names of the choices where all items share them; F1 is defined over these.
        tokens: Most tokens a generated answer may have.
        sample: Items that `--tasks all` takes of it: what two cores manage with the lab model.
    """

    name: str
    summary: str
    paper: str = ""
    version: int = 1
    places: tuple[str, ...]
    up: int = 0
    expects: str
    rules: tuple[Rule, ...] = RULES
    per_character: bool = False
    word: bool = False
    classes: tuple[str, ...] = ()
    tokens: int = 8
    sample: int = 100

    @abstractmethod
    def read(self, path: Path) -> list[Item]:
        """Every item of the file or folder.

        Raises:
            SpecError: It cannot be read, or an item is malformed.
        """

    def find(self, data: Path) -> Path | None:
        """The task's data in a folder, or None. A file is taken as it is.

        Raises:
            SpecError: Several places qualify.
        """
        if data.is_file():
            return data
        folder = data.resolve()
        own = [h for p in self.places for h in sorted(folder.parent.glob(p)) if folder in h.parents]
        if own:
            return self._root(own[0])
        for level in _LEVELS:
            for place in self.places:
                hits = sorted({self._root(hit) for hit in folder.glob(level + place)})
                if hits:
                    return self._only(data, hits)
        return None

    def missing(self, data: Path | None) -> str:
        """One line: where the task looks, and what for."""
        where = f"{data}, or up to two folders below it" if data else "the folder named by --data"
        return f"{self.name}: no data; expects {self.expects} in {where}."

    def _root(self, hit: Path) -> Path:
        return hit.parents[self.up - 1] if self.up else hit

    def _only(self, data: Path, hits: list[Path]) -> Path:
        if len(hits) > 1:
            found = ", ".join(str(hit) for hit in hits)
            raise SpecError(
                f"{data}: {len(hits)} places hold data of {self.name} ({found}); name the folder "
                "that is meant."
            )
        return hits[0]
