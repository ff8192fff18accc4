"""Question sets with choices: BoolQ, PIQA, Social IQa, ARC, OpenBookQA, WinoGrande.

Two forms of each are read: the one that its authors publish, and the instructions of LLM-Adapters
(arXiv:2304.01933), out of which question and choices are taken. Either way the prompts are ours:
the likelihood rule continues `Question: ... Answer:` by a choice's text, the generation rule lists
the choices under letters.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import final

from revive.data.formats.records import Record
from revive.errors import SpecError
from revive.tasks.item import Item
from revive.tasks.sets import published
from revive.tasks.sets.lettered import continuations, letters, listed
from revive.tasks.sets.published import Asked
from revive.tasks.sets.records import objects, text
from revive.tasks.task import Task

_YES_NO = ("no", "yes")
_BLANK = "_"


@dataclass(frozen=True, kw_only=True)
class QuestionTask(Task):
    """Questions, each with its own choices.

    Attributes:
        published: Reads a record as its authors wrote it.
    """

    published: Callable[[Record], Asked]

    def read(self, path: Path) -> list[Item]:
        """One item a record."""
        return [self.item(record) for record in objects(path)]

    def item(self, record: Record) -> Item:
        """One record as an item."""
        asked = instructed(record) if "instruction" in record.fields else self.published(record)
        return Item(
            prompt=f"Question: {asked.question}\nAnswer:",
            choices=continuations(asked.choices),
            question=listed(asked.question, asked.choices),
            labels=letters(len(asked.choices)),
            answer=asked.answer,
            where=record.where,
        )


@final
class YesNoTask(QuestionTask):
    """Questions that are answered by yes or no, after a passage where there is one."""

    def item(self, record: Record) -> Item:
        """One record as an item."""
        asked = _true_false(record) if "instruction" in record.fields else self.published(record)
        passage = f"Text: {asked.passage}\n" if asked.passage else ""
        return Item(
            prompt=f"{passage}Question: {asked.question.rstrip('?')}?\nAnswer:",
            choices=continuations(_YES_NO),
            labels=_YES_NO,
            answer=asked.answer,
            where=record.where,
        )


@final
class BlankTask(QuestionTask):
    """Sentences with a blank; scored is the text behind it, given each filling."""

    def item(self, record: Record) -> Item:
        """One record as an item."""
        asked = instructed(record) if "instruction" in record.fields else self.published(record)
        before, blank, after = asked.question.partition(_BLANK)
        if not blank or not after.strip():
            raise SpecError(f"{record.where}: the sentence needs a blank, '_', with text behind.")
        return Item(
            prompt=before,
            choices=asked.choices,
            ending=after,
            question=listed(f"What fits the blank? {asked.question}", asked.choices),
            labels=letters(len(asked.choices)),
            answer=asked.answer,
            where=record.where,
        )


def instructed(record: Record) -> Asked:
    """`Please choose ...: <question> Answer1: ... Answer2: ... Answer format: answer1/answer2`.

    Raises:
        SpecError: The instruction does not read like that.
    """
    body, names = _instruction(record)
    marks: list[tuple[int, int]] = []
    for name in names:
        mark = re.compile(rf"{re.escape(name)}: ?", re.IGNORECASE)
        found = mark.search(body, marks[-1][1] if marks else 0)
        if found is None:
            raise SpecError(f"{record.where}: instruction lists no choice {name!r}.")
        marks.append(found.span())
    ends = [start for start, _ in marks[1:]] + [len(body)]
    choices = tuple(body[s:e].strip() for (_, s), e in zip(marks, ends, strict=True))
    return Asked(body[: marks[0][0]].strip(), choices, _answer(record, names))


def _true_false(record: Record) -> Asked:
    body, names = _instruction(record)
    if names != ["true", "false"]:
        raise SpecError(f"{record.where}: expected 'Answer format: true/false'.")
    question = body.removeprefix("question:").strip()
    return Asked(question, _YES_NO, 1 - _answer(record, names))


def _instruction(record: Record) -> tuple[str, list[str]]:
    """The text behind the request, up to the names of the possible answers, and those."""
    body, found, names = text(record, "instruction").rpartition("Answer format:")
    opening = re.match(r"Please [^:]*(?:, (?=question:)|: )", body)
    if not found or opening is None:
        raise SpecError(
            f"{record.where}: instruction must open with a request and end with 'Answer format:'."
        )
    return body[opening.end() :].strip(), [name.strip() for name in names.split("/")]


def _answer(record: Record, names: list[str]) -> int:
    answer = text(record, "answer")
    if answer not in names:
        raise SpecError(f"{record.where}: answer must be one of {', '.join(names)}.")
    return names.index(answer)


def _places(*names: str) -> tuple[str, ...]:
    files = ("test.json", "test.jsonl", "validation.jsonl", "val*.jsonl", "dev*.jsonl")
    folders = tuple(f"{name}/{file}" for name in names for file in files)
    return (*(f"{name}.json*" for name in names), *folders)


def _expects(name: str, fields: str) -> str:
    return f"{name}/test.json or {name}.jsonl (records with {fields}, or instruction and answer)"


BOOLQ = YesNoTask(
    name="boolq",
    summary="yes-or-no questions",
    paper="arXiv:1905.10044",
    places=_places("boolq", "BoolQ"),
    expects=_expects("boolq", "question, passage, answer"),
    classes=_YES_NO,
    published=published.boolq,
)
PIQA = QuestionTask(
    name="piqa",
    summary="physical commonsense, two choices",
    paper="arXiv:1911.11641",
    places=_places("piqa", "PIQA"),
    expects=_expects("piqa", "goal, sol1, sol2, label"),
    per_character=True,
    published=published.piqa,
)
SOCIAL_IQA = QuestionTask(
    name="social_iqa",
    summary="social commonsense, three choices",
    paper="arXiv:1904.09728",
    places=_places("social_iqa", "social_i_qa", "siqa"),
    expects=_expects("social_iqa", "context, question, answerA to answerC, label"),
    published=published.social_iqa,
)
ARC_EASY = QuestionTask(
    name="arc_easy",
    summary="school science, the easy questions",
    paper="arXiv:1803.05457",
    places=(*_places("arc_easy", "ARC-Easy"), "ARC-Easy/ARC-Easy-Test.jsonl"),
    expects=_expects("arc_easy", "question, choices, answerKey"),
    published=published.lettered,
)
ARC_CHALLENGE = QuestionTask(
    name="arc_challenge",
    summary="school science, the hard questions",
    paper="arXiv:1803.05457",
    places=(*_places("arc_challenge", "ARC-Challenge"), "ARC-Challenge/ARC-Challenge-Test.jsonl"),
    expects=_expects("arc_challenge", "question, choices, answerKey"),
    per_character=True,
    published=published.lettered,
)
OPENBOOKQA = QuestionTask(
    name="openbookqa",
    summary="elementary science facts in use, four choices",
    paper="arXiv:1809.02789",
    places=_places("openbookqa", "obqa"),
    expects=_expects("openbookqa", "question_stem, choices, answerKey"),
    per_character=True,
    published=published.lettered,
)
WINOGRANDE = BlankTask(
    name="winogrande",
    summary="which of two names fills a blank",
    paper="arXiv:1907.10641",
    places=_places("winogrande"),
    expects=_expects("winogrande", "sentence, option1, option2, answer"),
    published=published.winogrande,
)
