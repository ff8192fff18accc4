"""Numbers about texts: entropy, repetition, similarity, and whether an answer was given."""

import math
import re
import string
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from revive.data.joining import unspaced, wide_mark
from revive.probes.words import words

_WEIGHTS = ((2, 2 / 3), (3, 4 / 3))
_REPEATED = 4
DEGENERATE = 0.5
"""Share of repeated 4-grams from which a text counts as degenerate."""

_WORD = re.compile(r"(?u)\b\w\w+\b")
_ENDS = re.compile(r"[.;!?\n。；！？]")
_ARTICLES = frozenset({"a", "an", "the"})


def entropy(tokens: Sequence[str], n: int) -> float:
    """Entropy of a text's n-grams, bits; 0 without any."""
    counts = Counter(_grams(tokens, n))
    total = sum(counts.values())
    return -sum(c / total * math.log2(c / total) for c in counts.values())


def fluency(text: str) -> float:
    """(2/3 H_2 + 4/3 H_3) / 2 over the text's words, bits; times 100 it is what papers report.

    ROME, arXiv 2202.05262, section 3.4, after arXiv 1809.05972.
    """
    tokens = words(text)
    return sum(weight * entropy(tokens, n) for n, weight in _WEIGHTS) / len(_WEIGHTS)


def repetition(text: str) -> float:
    """Share of the text's word 4-grams that are repeats of earlier ones; 0 without any.

    `seq-rep-4` of arXiv 1908.04319, section 6.
    """
    grams = _grams(words(text), _REPEATED)
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def _grams(tokens: Sequence[str], n: int) -> list[tuple[str, ...]]:
    return [tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)]


@dataclass(frozen=True)
class TfIdf:
    """TF-IDF with the defaults of scikit-learn's vectoriser.

    Lower-cased runs of two or more word characters; idf = ln((1 + N) / (1 + df)) + 1 over N
    documents; words that no document has do not count.

    Attributes:
        idf: By word.
    """

    idf: dict[str, float]

    @classmethod
    def fit(cls, documents: Sequence[str]) -> "TfIdf":
        """Weigh the words of some documents."""
        seen = Counter(word for text in documents for word in set(_terms(text)))
        return cls({w: math.log((1 + len(documents)) / (1 + c)) + 1 for w, c in seen.items()})

    def similarity(self, one: str, other: str) -> float:
        """Cosine of two texts' vectors, in [0, 1]; 0 if one of them has no known word."""
        a, b = self._vector(one), self._vector(other)
        norm = math.hypot(*a.values()) * math.hypot(*b.values())
        return sum(value * b.get(word, 0.0) for word, value in a.items()) / norm if norm else 0.0

    def _vector(self, text: str) -> dict[str, float]:
        counts = Counter(_terms(text))
        return {word: count * self.idf[word] for word, count in counts.items() if word in self.idf}


def _terms(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def begins_with(text: str, answers: Sequence[str]) -> bool:
    """Whether a text begins with one of the answers, as whole words, after normalising both."""
    given = normalised(text)
    wanted = [normalised(answer) for answer in answers]
    return any(w and given[: len(w)] == w for w in wanted)


def is_answer(text: str, answers: Sequence[str]) -> bool:
    """Whether a text, cut at its first stop or line break, is one of the answers and no more."""
    given = normalised(_ENDS.split(text.strip(), maxsplit=1)[0])
    return any(given and given == normalised(answer) for answer in answers)


def normalised(text: str) -> list[str]:
    """Words without case, punctuation and articles: SQuAD's exact match (arXiv 1606.05250).

    Of scripts that put no spaces between words every character is one, as in CMRC 2018
    (arXiv 1810.07366).
    """
    plain = text.casefold().translate(str.maketrans(dict.fromkeys(string.punctuation, " ")))
    if not plain.isascii():
        plain = "".join(_apart(character) for character in plain)
    return [word for word in plain.split() if word not in _ARTICLES]


def _apart(character: str) -> str:
    if unspaced(character):
        return f" {character} "
    return " " if wide_mark(character) else character
