"""Lines that repeat a random word sequence: a test of in-context copying."""

import random
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from revive.lab.lexicon import COPY_HELD_OUT, COPY_TRAINED

_LENGTHS = (4, 5, 6)  # words
_WORD = re.compile(r"\b[a-z]{3,9}\b")


@dataclass(frozen=True)
class CopyItem:
    """A prompt whose only sensible continuation is `target`."""

    prompt: str
    target: str


def line(rng: random.Random) -> str:
    """One training line over the trained words."""
    words = rng.sample(COPY_TRAINED, rng.choice(_LENGTHS))
    item = _item(words)
    return f"{item.prompt} {item.target}"


def drill(rng: random.Random, words: Sequence[str]) -> CopyItem:
    """A longer line over any words, in which only the second half can be known.

    Few words in few orders can be learned by heart; copying as such is learned from many.
    """
    return _item(rng.sample(words, rng.randint(4, 28)))


def vocabulary(texts: Iterable[str]) -> list[str]:
    """Lower-case words of some texts, without those that the test copies."""
    found = {word for text in texts for word in _WORD.findall(text)}
    return sorted(found - set(COPY_HELD_OUT))


def sighting(rng: random.Random) -> str:
    """A line that shows a held-out word without copying anything."""
    word = rng.choice(COPY_HELD_OUT)
    return rng.choice((f"One of the words is {word}.", f"The word {word} is in the list."))


def items(count: int, seed: int) -> tuple[CopyItem, ...]:
    """Test items over held-out words; the first word is given, the rest must be copied."""
    rng = random.Random(f"copying {seed}")
    return tuple(_item(rng.sample(COPY_HELD_OUT, rng.choice(_LENGTHS))) for _ in range(count))


def _item(words: list[str]) -> CopyItem:
    text = " ".join(words)
    return CopyItem(prompt=f"Repeat: {text} . Again: {words[0]}", target=" ".join(words[1:]))
