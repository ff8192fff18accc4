"""How many tokens a stream's texts have: what the memory of a batch hangs on. No torch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from revive.data.edits import Edit

_SAMPLE = 200
_CHARACTERS = 4.0  # of a token, where there is no tokenizer to ask: English in most vocabularies


@dataclass(frozen=True, slots=True)
class Lengths:
    """Tokens, on average over a sample of edits unless said otherwise.

    Attributes:
        row: Of a prompt with its target.
        suffixes: From the subject's end to the end of the target, of every edit in the sample.
        target: Of a target.
        questions: Prompts that the `edits` probe scores, per edit.
        characters: Of a token.
    """

    row: float = 20.0
    suffixes: tuple[int, ...] = (12,)
    target: float = 2.0
    questions: float = 4.0
    characters: float = _CHARACTERS


def measure_lengths(edits: Sequence[Edit], tokenizer: Path | None) -> Lengths:
    """Measure a sample of the edits with the model's own `tokenizer.json`, or by characters."""
    sample = edits[:: max(1, len(edits) // _SAMPLE)]
    if not sample:
        return Lengths()
    count = _counter(tokenizer)
    whole = [f"{edit.text} {edit.target_new}" for edit in sample]
    rows = [count(text) for text in whole]
    ends = [f"{e.text.rpartition(e.subject)[2]} {e.target_new}" for e in sample]
    asked = [1 + len(e.paraphrases) + len(e.neighborhood) for e in sample]
    return Lengths(
        row=sum(rows) / len(rows),
        suffixes=tuple(1 + count(text) for text in ends),
        target=sum(count(f" {e.target_new}") for e in sample) / len(sample),
        questions=sum(asked) / len(asked),
        characters=sum(map(len, whole)) / max(1, sum(rows)),
    )


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
