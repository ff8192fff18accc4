"""LAMBADA: the last word of a passage, guessed from all of it."""

from dataclasses import dataclass
from pathlib import Path
from typing import final

from revive.errors import SpecError
from revive.tasks.item import Item
from revive.tasks.sets.records import objects, raw
from revive.tasks.task import Task


@final
@dataclass(frozen=True, kw_only=True)
class Lambada(Task):
    """Right if the last word's tokens are the greedy continuation; perplexity is by word.

    The word is cut at the last space, so that `said` with a quotation mark behind it is one: this
    is how the passages of the OpenAI version have been scored since GPT-2.
    """

    def read(self, path: Path) -> list[Item]:
        """One passage a line."""
        found: list[Item] = []
        for record in objects(path):
            before, space, word = raw(record, "text").rpartition(" ")
            if not before.strip() or not word:
                raise SpecError(f"{record.where}: text must be words separated by spaces.")
            found.append(Item(prompt=before, choices=(space + word,), where=record.where))
        return found


LAMBADA = Lambada(
    name="lambada",
    summary="last word of a passage: greedy accuracy and perplexity",
    paper="arXiv:1606.06031",
    places=("lambada_test*.jsonl", "lambada*.jsonl"),
    expects="lambada_test.jsonl (JSON Lines with text)",
    rules=("likelihood",),
    word=True,
)
