"""What stands between a prompt and its target: a space, or nothing.

A language model continues text, so the two must meet as they would in running text. Where neither
side brings white space, scripts that put spaces between words get one, others do not ("是" +
"纽约"). A prompt that ends in an opening bracket or quote, a hyphen, or an elision ("l'") is
continued at once, and closing punctuation follows what it closes.

Where the two sides differ ("苹果的CEO是" + "Tim Cook", "The Chinese name is" + "北京"), the
language of the prompt decides: does it hold more letters without spaces than words with them?
"""

import re
import unicodedata
from collections.abc import Iterator

AUTO = "auto"
PUBLISHED = "published"
"""Prompts and targets trimmed, one space between: what evaluations of CounterFact and zsRE do, and
what REVIVE did with every file before it looked at the text."""

# The first word of their characters' Unicode names.
_UNSPACED = frozenset(
    {
        *("CJK", "HIRAGANA", "KATAKANA", "BOPOMOFO", "YI", "TANGUT", "NUSHU"),
        *("THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN", "JAVANESE", "BALINESE"),
    }
)
_WIDE = ("W", "F")
_QUOTES = "\"'`\u2018\u2019"
_APOSTROPHES = "'\u2019"
_ATTACHED = "/\\@#_"
_WORD = re.compile(r"[^\W\d_]+")
_STOPS = re.compile(r"[,.;:!?%\u2026]+(?!\S)")
_POSSESSIVE = re.compile(rf"[{_APOSTROPHES}](?:s|re|ve|ll|d|m)\b")


def joiner(prompt: str, target: str, wanted: str = AUTO) -> str:
    """What to put between a prompt and its target.

    Args:
        prompt: Text up to the target.
        target: Its continuation.
        wanted: `auto`, `published`, or the text to put there.
    """
    if wanted == PUBLISHED:
        return " "
    if wanted != AUTO:
        return wanted
    if not prompt or not target or prompt[-1].isspace() or target[0].isspace():
        return ""
    if _opens(prompt) or _closes(target):
        return ""
    return " " if _spaced(prompt, target) else ""


def joined(prompt: str, target: str, wanted: str = AUTO) -> str:
    """A prompt with its target."""
    return f"{prompt}{joiner(prompt, target, wanted)}{target}"


def unspaced(character: str) -> bool:
    """Whether a character is a letter of a script that puts no spaces between words."""
    name = unicodedata.name(unicodedata.normalize("NFKC", character)[:1], "")
    return unicodedata.category(character)[0] in "LM" and re.split("[ -]", name)[0] in _UNSPACED


def _spaced(prompt: str, target: str) -> bool:
    """Whether the languages of prompt and target ask for a space."""
    if wide_mark(prompt[-1]) or wide_mark(target[0]):
        return False
    sides = {unspaced(_nearest(reversed(prompt))), unspaced(_nearest(iter(target)))}
    if len(sides) == 1:
        return False in sides
    dense = "".join(c for c in prompt if unspaced(c))
    rest = "".join(" " if unspaced(c) else c for c in prompt)
    return len(dense) <= len(_WORD.findall(rest))


def _nearest(characters: Iterator[str]) -> str:
    """The first letter or digit; a space if there is none."""
    return next((c for c in characters if unicodedata.category(c)[0] in "LMN"), " ")


def wide_mark(character: str) -> bool:
    """Whether a character is East Asian punctuation, which carries its own space."""
    wide = unicodedata.east_asian_width(character) in _WIDE
    return wide and unicodedata.category(character)[0] == "P"


def _opens(prompt: str) -> bool:
    """Whether a prompt's end is written without a space after it."""
    last, before = prompt[-1], prompt[-2:-1]
    kind = unicodedata.category(last)
    free = not before or before.isspace() or unicodedata.category(before) in ("Ps", "Pi")
    if kind == "Ps":
        return True
    if kind in ("Pi", "Pf") or last in _QUOTES:
        # German closes with what English opens with: what stands before tells the two apart.
        return free or (last in _APOSTROPHES and _elided(prompt))
    return not free and (kind == "Pd" or last in _ATTACHED)


def _elided(prompt: str) -> bool:
    """Whether an apostrophe at the end stands for a vowel (l', dell'), not for a possessive."""
    word = re.split(r"\s", prompt)[-1]
    stem = word[:-1].lower()
    quoted = re.search(rf"(?:^|\s)[{_QUOTES}]\w", prompt) is not None
    return stem[-1:].isalpha() and not quoted and (len(stem) == 1 or not stem.endswith("s"))


def _closes(target: str) -> bool:
    """Whether a target's beginning is written without a space before it."""
    kind = unicodedata.category(target[0])
    closing = kind == "Pe" or (kind == "Pf" and target[0] not in _APOSTROPHES)
    return closing or bool(_STOPS.match(target) or _POSSESSIVE.match(target))
