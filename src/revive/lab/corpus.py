"""Text in the distribution the lab model was trained on, from packaged material only."""

import random

from revive.lab import copying, grammar, handbook
from revive.lab.facts import Fact, load_facts, relations, state

_SHARES = (("fact", 0.72), ("handbook", 0.14), ("grammar", 0.09), ("copying", 0.05))


def sentences(seed: int, count: int) -> list[str]:
    """Lines for estimating second moments of keys, or any other average over ordinary input.

    Args:
        seed: Same seed, same lines.
        count: Number of lines.

    Returns:
        Facts of both splits in training templates, handbook entries, grammar sentences and
        copying lines, mixed in the proportions of training.
    """
    rng = random.Random(f"corpus {seed}")
    facts = load_facts()
    names = [name for name, _ in _SHARES]
    weights = [weight for _, weight in _SHARES]
    return [_line(rng, kind, facts) for kind in rng.choices(names, weights, k=count)]


def fact_sentence(fact: Fact, template: str) -> str:
    """The fact in one template, as a full sentence."""
    return f"{state(template, fact.subject)} {fact.object}."


def skill_line(rng: random.Random, kind: str) -> str:
    """One generated line that is not about a fact.

    Raises:
        ValueError: If the kind is unknown.
    """
    if kind == "handbook":
        return handbook.entry(rng)
    if kind == "grammar":
        return grammar.sentence(rng)
    if kind == "copying":
        return copying.sighting(rng) if rng.random() < 0.1 else copying.line(rng)
    raise ValueError(f"unknown kind of line {kind!r}: use handbook, grammar or copying")


def _line(rng: random.Random, kind: str, facts: tuple[Fact, ...]) -> str:
    if kind != "fact":
        return skill_line(rng, kind)
    fact = rng.choice(facts)
    return fact_sentence(fact, rng.choice(relations()[fact.relation].templates))
