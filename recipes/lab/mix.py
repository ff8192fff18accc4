"""The training mix: which lines the lab model sees, how often, and what each token weighs."""

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from revive.lab import copying, corpus
from revive.lab.facts import Fact, relations, state

# Public-domain running text only, so that the weights carry no share-alike licence.
SOURCES = {
    "factbook.txt": "CIA World Factbook, CC0",
    "inaugural.txt": "US presidential inaugural addresses, public domain",
    "state_union.txt": "US State of the Union addresses, public domain",
}
_PROMPT_WEIGHT, _OBJECT_WEIGHT, _TEXT_WEIGHT = 0.3, 1.5, 1.0
_RANDOM_WEIGHT = 0.05  # of words drawn at random, which nothing foretells
_SENTENCE_END = re.compile(r"(?<=[.!?;:]) +")
_SHORTEST = 60  # characters; shorter source lines are headings and table cells


@dataclass(frozen=True)
class Mix:
    """Amounts of each ingredient.

    Attributes:
        exposures: Times each fact is stated, spread evenly over its templates.
        text: Share of tokens from source text.
        handbook: Share of lines-worth tokens from generated handbook entries.
        grammar: Share from grammatical sentences.
        copying: Share from copying lines.
        drill: Share from copying drills.
        joined: Probability that a fact sentence continues the previous document instead of
            starting its own, so that recall does not depend on a fresh context.
    """

    exposures: int = 40
    text: float = 0.13
    handbook: float = 0.02
    grammar: float = 0.08
    copying: float = 0.06
    drill: float = 0.0
    joined: float = 0.4


LEARN = Mix()
"""First stage: facts and language."""

FINISH = Mix(exposures=4, text=0.08, handbook=0.01, grammar=0.05, copying=0.0, drill=0.4)
"""Second stage: copying in context, which the first does not bring about; facts are rehearsed."""

Piece = tuple[str, float]  # text, including its leading space, and the loss weight of its tokens


def fact_passes(facts: Sequence[Fact], exposures: int, rng: random.Random) -> Iterator[list[Piece]]:
    """Every fact once per pass, in a new order and the next of its templates each time."""
    order = list(facts)
    cycles: dict[str, list[str]] = {}
    for number in range(exposures):
        rng.shuffle(order)
        for fact in order:
            templates = list(relations()[fact.relation].templates)
            turn = number % len(templates)
            if turn == 0:
                rng.shuffle(templates)
                cycles[fact.id] = templates
            yield fact_pieces(fact, cycles[fact.id][turn])


def fact_pieces(fact: Fact, template: str) -> list[Piece]:
    """A fact sentence cut into prompt, object and full stop."""
    return [
        (f" {state(template, fact.subject)}", _PROMPT_WEIGHT),
        (f" {fact.object}", _OBJECT_WEIGHT),
        (".", _PROMPT_WEIGHT),
    ]


def line_pieces(line: str) -> list[Piece]:
    """A line of ordinary text as one piece."""
    return [(f" {line}", _TEXT_WEIGHT)]


def skill_lines(kind: str, seed: int) -> Iterator[str]:
    """Endless generated lines of one kind."""
    rng = random.Random(f"training {kind} {seed}")
    while True:
        yield corpus.skill_line(rng, kind)


def drill_pieces(words: Sequence[str], seed: int) -> Iterator[list[Piece]]:
    """Endless copying drills."""
    rng = random.Random(f"training drill {seed}")
    while True:
        item = copying.drill(rng, words)
        yield [(f" {item.prompt}", _RANDOM_WEIGHT), (f" {item.target}", _TEXT_WEIGHT)]


def source_passages(data: Path, seed: int, longest: int = 320) -> list[str]:
    """Runs of whole sentences from the source texts, shuffled.

    Args:
        data: Folder that holds `text/`.
        seed: Seed of the order.
        longest: Most characters per passage.

    Raises:
        ValueError: If a source text is missing.
    """
    passages: list[str] = []
    for name in SOURCES:
        path = data / "text" / name
        if not path.is_file():
            raise ValueError(f"{path}: source text not found; point --data at a folder that has it")
        for line in path.read_text(encoding="utf-8").splitlines():
            if len(line) >= _SHORTEST:
                passages += _passages(line, longest)
    random.Random(f"passages {seed}").shuffle(passages)
    return passages


def _passages(line: str, longest: int) -> list[str]:
    done: list[str] = []
    current = ""
    for sentence in _SENTENCE_END.split(line.strip()):
        if current and len(current) + len(sentence) >= longest:
            done.append(current)
            current = ""
        current = f"{current} {sentence}".strip()[:longest]
    return [*done, current] if current else done
