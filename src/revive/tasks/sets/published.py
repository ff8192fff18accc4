"""Records of question sets in the form in which their authors publish them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from revive.data.formats.records import Record
from revive.errors import SpecError
from revive.tasks.sets.records import one_of, text


@dataclass(frozen=True, slots=True)
class Asked:
    """A question, its choices, which of them is right, and the text it is about, if any."""

    question: str
    choices: tuple[str, ...]
    answer: int
    passage: str = ""


def boolq(record: Record) -> Asked:
    """`question, passage, answer` (or `label`): true or false, or 1 or 0."""
    passage = text(record, "passage") if "passage" in record.fields else ""
    key = "answer" if "answer" in record.fields else "label"
    value = record.fields.get(key)
    if not isinstance(value, bool) and value not in (0, 1):
        raise SpecError(f"{record.where}: {key} must be true or false.")
    return Asked(text(record, "question"), ("no", "yes"), int(bool(value)), passage)


def piqa(record: Record) -> Asked:
    """`goal, sol1, sol2, label`."""
    choices = (text(record, "sol1"), text(record, "sol2"))
    return Asked(text(record, "goal"), choices, one_of(record, "label", range(2)))


def social_iqa(record: Record) -> Asked:
    """`context, question, answerA, answerB, answerC, label` from 1."""
    question = f"{text(record, 'context')} {text(record, 'question')}"
    choices = tuple(text(record, f"answer{letter}") for letter in "ABC")
    return Asked(question, choices, one_of(record, "label", range(1, 4)))


def winogrande(record: Record) -> Asked:
    """`sentence, option1, option2, answer` from 1."""
    choices = (text(record, "option1"), text(record, "option2"))
    return Asked(text(record, "sentence"), choices, one_of(record, "answer", range(1, 3)))


def lettered(record: Record) -> Asked:
    """ARC and OpenBookQA, of the Allen Institute and as on the model hub.

    The former nest `question: {stem, choices: [{text, label}]}`, the latter have
    `choices: {text: [...], label: [...]}` beside `question` or `question_stem`.
    """
    nested = record.fields.get("question")
    if isinstance(nested, dict):
        record = Record(record.where, record.number, {**record.fields, **cast(_Fields, nested)})
    stem = next((key for key in ("stem", "question_stem") if key in record.fields), "question")
    labels, texts = _choices(record)
    return Asked(text(record, stem), texts, one_of(record, "answerKey", labels))


_Fields = dict[str, object]


def _choices(record: Record) -> tuple[list[str], tuple[str, ...]]:
    found = record.fields.get("choices")
    pairs: list[tuple[object, object]] = []
    if isinstance(found, dict):
        columns = cast("Mapping[str, list[object]]", found)
        pairs = list(zip(columns.get("label", ()), columns.get("text", ()), strict=False))
    elif isinstance(found, list):
        rows = [row for row in cast("list[object]", found) if isinstance(row, dict)]
        pairs = [(r.get("label"), r.get("text")) for r in cast("list[_Fields]", rows)]
    if len(pairs) < 2 or not all(isinstance(part, str) for pair in pairs for part in pair):
        raise SpecError(f"{record.where}: choices must be at least two, each with label and text.")
    return [str(label) for label, _ in pairs], tuple(str(words).strip() for _, words in pairs)
