"""GSM8K: school mathematics in words, answered by writing the solution out.

The three worked examples are ours. A solution is one line, so that a generation ends with it.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import final

from revive.data.formats.records import Record
from revive.errors import SpecError
from revive.tasks.answers import read_number
from revive.tasks.item import Item
from revive.tasks.sets.records import objects, text
from revive.tasks.task import Task

_MARK = "####"
_SHOTS = (
    "Question: A shelf has 4 rows with 9 jars each. Nora takes 7 jars away. How many are left?\n"
    "Answer: The shelf had 4 * 9 = 36 jars. Without 7 of them there are 36 - 7 = 29. "
    "The answer is 29.\n\n",
    "Question: Omar saves $15 a week and his sister twice as much. How much do they save together "
    "in 3 weeks?\n"
    "Answer: His sister saves 2 * 15 = 30 dollars a week, so both save 15 + 30 = 45 dollars a "
    "week. In 3 weeks that is 3 * 45 = 135 dollars. The answer is 135.\n\n",
    "Question: A train with 120 passengers stops once. A quarter of them leave and 18 people "
    "enter. How many passengers does it have then?\n"
    "Answer: 120 / 4 = 30 passengers leave, so 120 - 30 = 90 stay. With 18 more there are "
    "90 + 18 = 108. The answer is 108.\n\n",
)


@final
@dataclass(frozen=True, kw_only=True)
class Gsm8k(Task):
    """Right if the number behind `The answer is`, or else the last one, equals the target."""

    def read(self, path: Path) -> list[Item]:
        """One item a record: `question, answer` of the authors, or `instruction, answer`."""
        return [
            Item(
                prompt=f"Question: {_question(record)}\nAnswer:",
                shots=_SHOTS,
                target=_target(record),
                where=record.where,
            )
            for record in objects(path)
        ]


def _question(record: Record) -> str:
    asked = text(record, "question" if "question" in record.fields else "instruction")
    return " ".join(asked.split())


def _target(record: Record) -> str:
    answer = text(record, "answer").rpartition(_MARK)[2].strip()
    number = read_number(answer)
    if number is None:
        raise SpecError(f"{record.where}: answer ends with no number.")
    return f"{number:f}"


GSM8K = Gsm8k(
    name="gsm8k",
    summary="school mathematics, free generation, exact number",
    paper="arXiv:2110.14168",
    places=("gsm8k.json*", "gsm8k/test.json", "gsm8k/test.jsonl"),
    expects="gsm8k/test.json or gsm8k.jsonl (records with question and answer)",
    rules=("generation",),
    tokens=160,
    sample=20,
)
