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


@dataclass(frozen=True)
class CopyPair:
    """Two full lines: one copies what it shows, the other names other words."""

    good: str
    bad: str


def line(rng: random.Random) -> str:
    """One training line over the trained words."""
    words = rng.sample(COPY_TRAINED, rng.choice(_LENGTHS))
    text = " ".join(words)
    return f"Repeat: {text} . Again: {text}"


def drill(rng: random.Random, words: Sequence[str]) -> CopyItem:
    """One to three words of a large vocabulary, of which only the second mention can be known.

    Few words in few orders can be learned by heart; copying as such is learned from many.
    """
    text = " ".join(rng.sample(words, rng.choices((1, 2, 3), (4, 1, 1))[0]))
    return CopyItem(prompt=f"Repeat: {text} . Again:", target=text)


def vocabulary(texts: Iterable[str]) -> list[str]:
    """Lower-case words of some texts, without those that the test copies."""
    found = {word for text in texts for word in _WORD.findall(text)}
    return sorted(found - set(COPY_HELD_OUT))


def sighting(rng: random.Random) -> str:
    """A line that shows a held-out word without copying anything."""
    word = rng.choice(COPY_HELD_OUT)
    return rng.choice((f"One of the words is {word}.", f"The word {word} is in the list."))


def pairs(count: int, seed: int) -> tuple[CopyPair, ...]:
    """Test pairs over one to three held-out words; guessing is right half of the time."""
    rng = random.Random(f"copying {seed}")
    made: list[CopyPair] = []
    for _ in range(count):
        length = rng.randint(1, 3)
        words = rng.sample(COPY_HELD_OUT, 2 * length)
        shown, other = " ".join(words[:length]), " ".join(words[length:])
        start = f"Repeat: {shown} . Again:"
        made.append(CopyPair(good=f"{start} {shown}", bad=f"{start} {other}"))
    return tuple(made)
