"""How many tokens a stream's texts have: what the memory of a batch hangs on. No torch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from revive.data.edits import Edit
from revive.data.joining import joined, joiner

_SAMPLE, _ASKED = 200, 50  # edits: measured, and those whose other prompts are measured too
_FRAME = 36  # tokens that a chat template with a short system message puts around a message
_ANSWERING = 6  # of them, those between the message and its answer
_CHARACTERS = 4.0  # of a token, where there is no tokenizer to ask: English in most vocabularies


@dataclass(frozen=True, slots=True)
class Lengths:
    """Tokens, on average over a sample of edits unless said otherwise.

    Attributes:
        row: Of a prompt with its target.
        suffixes: From the subject's end to the end of the target, of every edit in the sample.
        target: Of a target.
        questions: Prompts that the `edits` probe scores, per edit.
        question: Tokens of one with a target.
        characters: Of a token.
    """

    row: float = 20.0
    suffixes: tuple[int, ...] = (12,)
    target: float = 2.0
    questions: float = 4.0
    question: float = 16.0
    characters: float = _CHARACTERS


def measure_lengths(edits: Sequence[Edit], tokenizer: Path | None) -> Lengths:
    """Measure a sample of the edits with the model's own `tokenizer.json`, or by characters."""
    sample = edits[:: max(1, len(edits) // _SAMPLE)]
    if not sample:
        return Lengths()
    count = _counter(tokenizer)
    whole = [joined(edit.text, edit.target_new, edit.joiner) for edit in sample]
    rows = [count(text) + (_FRAME if e.chat else 0) for text, e in zip(whole, sample, strict=True)]
    ends = [joined(e.text.rpartition(e.subject)[2], e.target_new, e.joiner) for e in sample]
    answers = [f"{joiner(e.text, e.target_new, e.joiner)}{e.target_new}" for e in sample]
    asked = [1 + len(e.paraphrases) + len(e.neighborhood) for e in sample]
    others = [t for e in sample[:_ASKED] for t in (*e.paraphrases, *_prompts(e))]
    target = sum(map(count, answers)) / len(sample)
    question = sum(map(count, others)) / len(others) + target if others else sum(rows) / len(rows)
    return Lengths(
        row=sum(rows) / len(rows),
        suffixes=tuple(
            1 + count(text) + (_ANSWERING if e.chat else 0)
            for text, e in zip(ends, sample, strict=True)
        ),
        target=target,
        questions=sum(asked) / len(asked),
        question=question,
        characters=sum(map(len, whole)) / max(1, sum(rows)),
    )


def _prompts(edit: Edit) -> list[str]:
    return [neighbor.prompt for neighbor in edit.neighborhood]


def _counter(tokenizer: Path | None) -> Callable[[str], int]:
    if tokenizer is None:
        return _by_characters
    from tokenizers import Tokenizer

    known: Any = Tokenizer.from_file(str(tokenizer))

    def count(text: str) -> int:
        return len(known.encode(text, add_special_tokens=False).ids)

    return count


def _by_characters(text: str) -> int:
    return max(1, round(len(text) / _CHARACTERS))
