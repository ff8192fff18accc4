"""Questions whose choices are listed under letters."""

from collections.abc import Sequence

LETTERS = tuple("ABCDEFGHIJ")


def listed(question: str, choices: Sequence[str]) -> str:
    """The question and its choices, up to where the letter is to follow."""
    lines = [f"{letter}. {text}" for letter, text in zip(LETTERS, choices, strict=False)]
    return "\n".join([f"Question: {question}", *lines, "Answer:"])


def letters(count: int) -> tuple[str, ...]:
    """The first letters."""
    return LETTERS[:count]


def continuations(words: Sequence[str]) -> tuple[str, ...]:
    """Words as they follow a prompt, after one space."""
    return tuple(f" {word}" for word in words)
