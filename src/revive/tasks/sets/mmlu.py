"""MMLU: 57 subjects as CSV with worked examples, or one JSON Lines file of questions.

The likelihood rule compares the letters, as the authors do (arXiv:2009.03300); the subject is
named first and the examples are those of its `dev` file.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

from revive.errors import SpecError
from revive.tasks.item import Item
from revive.tasks.sets.lettered import continuations, letters, listed
from revive.tasks.sets.records import objects, one_of, table, text, texts
from revive.tasks.task import Task

_PAPER = "arXiv:2009.03300"
_CHOICES = 4
_LETTERS = letters(_CHOICES)
_SHOTS = 5


@dataclass(frozen=True, slots=True)
class _Question:
    question: str
    choices: tuple[str, ...]
    answer: int
    where: str

    @property
    def prompt(self) -> str:
        return listed(self.question, self.choices)

    @property
    def solved(self) -> str:
        return f"{self.prompt} {_LETTERS[self.answer]}\n\n"


def _item(question: _Question, subject: str, shots: tuple[str, ...]) -> Item:
    return Item(
        preamble=f"Questions about {subject.replace('_', ' ')}, each with one right choice.\n\n",
        shots=shots,
        prompt=question.prompt,
        choices=continuations(_LETTERS),
        labels=_LETTERS,
        answer=question.answer,
        group=subject,
        where=question.where,
    )


@final
@dataclass(frozen=True, kw_only=True)
class MmluFolder(Task):
    """`test/<subject>_test.csv` with questions, `dev/<subject>_dev.csv` with examples."""

    def read(self, path: Path) -> list[Item]:
        """Every question of every subject, behind the first five of its examples."""
        found: list[Item] = []
        for file in sorted(path.glob("test/*_test.csv")):
            subject = file.name.removesuffix("_test.csv")
            examples = path / "dev" / f"{subject}_dev.csv"
            if not examples.is_file():
                raise SpecError(f"{examples}: no such file; {file.name} needs its examples.")
            shots = tuple(q.solved for q in _questions(examples)[:_SHOTS])
            found += [_item(question, subject, shots) for question in _questions(file)]
        if not found:
            raise SpecError(f"{path}: no data; mmlu expects {self.expects}.")
        return found


@final
@dataclass(frozen=True, kw_only=True)
class MmluSample(Task):
    """Questions of all subjects in one file, without examples."""

    def read(self, path: Path) -> list[Item]:
        """One item a line."""
        found: list[Item] = []
        for record in objects(path):
            question, choices = text(record, "question"), texts(record, "choices")
            if len(choices) != _CHOICES:
                raise SpecError(f"{record.where}: choices must be four, got {len(choices)}.")
            answer = one_of(record, "answer", range(_CHOICES))
            asked = _Question(question, choices, answer, record.where)
            found.append(_item(asked, text(record, "subject"), ()))
        return found


def _questions(file: Path) -> list[_Question]:
    """Rows `question, four choices, answer`; a header line is skipped."""
    rows = table(file)
    if rows and rows[0][1][-1].strip().lower() == "answer":
        rows = rows[1:]
    return [_question(where, row) for where, row in rows]


def _question(where: str, row: Sequence[str]) -> _Question:
    if len(row) != _CHOICES + 2 or row[-1].strip() not in _ANSWERS:
        raise SpecError(
            f"{where}: expected six cells, question, four choices, and the answer as A to D or "
            "0 to 3."
        )
    return _Question(
        row[0].strip(), tuple(c.strip() for c in row[1:-1]), _ANSWERS[row[-1].strip()], where
    )


_ANSWERS: Mapping[str, int] = {
    **{letter: index for index, letter in enumerate(_LETTERS)},
    **{str(index): index for index in range(_CHOICES)},
}

MMLU = MmluFolder(
    name="mmlu",
    summary="57 subjects, four choices, five examples",
    paper=_PAPER,
    places=("test/*_test.csv", "mmlu/test/*_test.csv"),
    up=2,
    expects="a folder with test/<subject>_test.csv and dev/<subject>_dev.csv",
    classes=_LETTERS,
    sample=114,
)
MMLU_SIX = MmluSample(
    name="mmlu_six",
    summary="MMLU's questions in one balanced file, without examples",
    paper=_PAPER,
    places=("mmlu.jsonl", "mmlu_six.jsonl"),
    expects="mmlu.jsonl (JSON Lines with question, subject, choices, answer: 0 to 3)",
    classes=_LETTERS,
)
