"""Answers read out of generated text."""

import re
from collections.abc import Sequence
from decimal import Decimal

_NUMBER = re.compile(r"-?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|-?\.\d+")
_ANNOUNCED = re.compile(r"answer is", re.IGNORECASE)


def read_label(text: str, labels: Sequence[str]) -> int | None:
    """Which label a text gives: the first that stands in it as a word, whatever its case.

    A label of one letter counts only where it opens the text, since `a` is a word as well.

    Returns:
        Its position, or None where the text gives none.
    """
    if all(len(label) == 1 for label in labels):
        opening = re.match(r"\W*(\w+)", text)
        word = opening.group(1).lower() if opening else ""
        return next((i for i, label in enumerate(labels) if label.lower() == word), None)
    found: list[tuple[int, int, int]] = []
    for index, label in enumerate(labels):
        match = re.search(rf"(?<!\w){re.escape(label)}(?!\w)", text, re.IGNORECASE)
        if match:
            found.append((match.start(), -len(label), index))
    return min(found)[2] if found else None


def read_number(text: str) -> Decimal | None:
    """The first number behind the last `answer is`; without that, the last number at all.

    Thousands may be separated by commas. `576` and `576.0` are the same number.
    """
    announced = list(_ANNOUNCED.finditer(text))
    if announced:
        match = _NUMBER.search(text, announced[-1].end())
    else:
        every = list(_NUMBER.finditer(text))
        match = every[-1] if every else None
    if match is None:
        return None
    # A minus behind a digit or letter is a difference or a hyphen, not a sign.
    start = match.start()
    signed = match.group().startswith("-")
    dash = signed and start > 0 and (text[start - 1].isalnum() or text[start - 1] == ")")
    return Decimal(match.group().replace(",", "").removeprefix("-" if dash else "")).normalize()
