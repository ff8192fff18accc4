"""Classification sets as JSON Lines: SST-2, MRPC, CoLA, RTE, NLI, with prompts of our own.

The balanced samples that the literature on sequential editing scores (arXiv:2401.07453, taken
over by arXiv:2410.02355 and arXiv:2601.11042) are in this form, with the labels of GLUE.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import final

from revive.tasks.item import Item
from revive.tasks.sets.lettered import continuations
from revive.tasks.sets.records import objects, one_of, text
from revive.tasks.task import Task

_GLUE = "arXiv:1804.07461"


@final
@dataclass(frozen=True, kw_only=True)
class LabelTask(Task):
    """One or two sentences and a label.

    Attributes:
        fields: Fields with the sentences.
        template: The prompt, with a place for each of them.
        words: What stands for each class in an answer, in the order of `classes`.
        named: Whether the file names the label instead of numbering it.
    """

    fields: tuple[str, ...]
    template: str
    words: tuple[str, ...]
    named: bool = False

    def read(self, path: Path) -> list[Item]:
        """One item a line."""
        labels = self.classes if self.named else range(len(self.classes))
        return [
            Item(
                prompt=self.template.format(*(text(record, field) for field in self.fields)),
                choices=continuations(self.words),
                labels=self.words,
                answer=one_of(record, "label", labels),
                where=record.where,
            )
            for record in objects(path)
        ]


def _form(file: str, fields: tuple[str, ...], labels: str) -> str:
    return f"{file} (JSON Lines with {', '.join(fields)}, label: {labels})"


_ONE, _TWO = ("sentence",), ("sentence1", "sentence2")
_FOLLOWS = (
    "Text: {}\nClaim: {}\nQuestion: Does the claim follow from the text? Answer yes or no.\nAnswer:"
)

SST2 = LabelTask(
    name="sst2",
    summary="sentiment of film reviews",
    paper=_GLUE,
    places=("sst2.jsonl",),
    expects=_form("sst2.jsonl", _ONE, "0 negative, 1 positive"),
    classes=("negative", "positive"),
    fields=_ONE,
    template="Review: {}\nQuestion: Is this review positive or negative?\nAnswer:",
    words=("negative", "positive"),
)
MRPC = LabelTask(
    name="mrpc",
    summary="whether two sentences say the same",
    paper=_GLUE,
    places=("mrpc.jsonl",),
    expects=_form("mrpc.jsonl", _TWO, "0 different, 1 the same"),
    classes=("different", "same"),
    fields=_TWO,
    template=(
        "Sentence 1: {}\nSentence 2: {}\nQuestion: Do the two sentences say the same? "
        "Answer yes or no.\nAnswer:"
    ),
    words=("no", "yes"),
)
COLA = LabelTask(
    name="cola",
    summary="whether a sentence is grammatical",
    paper=_GLUE,
    places=("cola.jsonl",),
    expects=_form("cola.jsonl", _ONE, "0 unacceptable, 1 acceptable"),
    classes=("unacceptable", "acceptable"),
    fields=_ONE,
    template="Sentence: {}\nQuestion: Is this sentence grammatical? Answer yes or no.\nAnswer:",
    words=("no", "yes"),
)
RTE = LabelTask(
    name="rte",
    summary="whether a text entails a claim",
    paper=_GLUE,
    places=("rte.jsonl",),
    expects=_form("rte.jsonl", _TWO, "0 entailment, 1 none"),
    classes=("entailment", "not_entailment"),
    fields=_TWO,
    template=_FOLLOWS,
    words=("yes", "no"),
)
NLI = LabelTask(
    name="nli",
    summary="whether a text entails a claim, the larger set",
    paper=_GLUE,
    places=("nli.jsonl",),
    expects=_form("nli.jsonl", _TWO, "entailment or not_entailment"),
    classes=("entailment", "not_entailment"),
    fields=_TWO,
    template=_FOLLOWS,
    words=("yes", "no"),
    named=True,
)
