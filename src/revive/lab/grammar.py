"""Grammatical minimal pairs from a small generator.

Each frame makes one grammatical sentence and a minimally different ungrammatical one. Training
sees only the grammatical side, with the trained lexicon; the battery tests the held-out one. The
phenomena follow the classes of BLiMP (Warstadt et al. 2020); words and sentences are our own.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from revive.lab.lexicon import (
    ADJECTIVES,
    ADVERBS,
    HELD_OUT,
    INTRANSITIVE,
    IRREGULAR,
    REFLEXIVE,
    TRAINED,
    TRANSITIVE,
    Lexicon,
)

_Pair = tuple[str, str]
_Frame = Callable[[random.Random, Lexicon], _Pair]


@dataclass(frozen=True)
class MinimalPair:
    """Two sentences that differ in one place, of which only `good` is grammatical."""

    phenomenon: str
    good: str
    bad: str


def _number(rng: random.Random, forms: _Pair) -> tuple[str, int]:
    """A noun form and its number: 0 singular, 1 plural."""
    plural = rng.randrange(2)
    return forms[plural], plural


def _animate(rng: random.Random, words: Lexicon) -> _Pair:
    return rng.choice(words.people + words.animals)


def _verb(rng: random.Random, plural: int) -> _Pair:
    """The agreeing form and the other one."""
    base, third = rng.choice(INTRANSITIVE)
    return (base, third) if plural else (third, base)


def _agreement(rng: random.Random, words: Lexicon) -> _Pair:
    subject, plural = _number(rng, _animate(rng, words))
    good, bad = _verb(rng, plural)
    tail = rng.choice(ADVERBS)
    return f"The {subject} {good} {tail}.", f"The {subject} {bad} {tail}."


def _agreement_phrase(rng: random.Random, words: Lexicon) -> _Pair:
    subject, plural = _number(rng, _animate(rng, words))
    other = rng.choice(words.things)[1 - plural]
    good, bad = _verb(rng, plural)
    head = f"The {subject} {rng.choice(('near', 'behind', 'with'))} the {other}"
    return f"{head} {good}.", f"{head} {bad}."


def _agreement_clause(rng: random.Random, words: Lexicon) -> _Pair:
    subject, plural = _number(rng, rng.choice(words.people))
    other = rng.choice(words.people)[1 - plural]
    inner = rng.choice(TRANSITIVE)[plural]  # the other noun has the other number, as has its verb
    good, bad = _verb(rng, plural)
    head = f"The {subject} that the {other} {inner}"
    return f"{head} {good}.", f"{head} {bad}."


def _auxiliary(rng: random.Random, words: Lexicon) -> _Pair:
    subject, plural = _number(rng, rng.choice(words.people + words.animals + words.things))
    forms = rng.choice((("is", "are"), ("was", "were"), ("has been", "have been")))
    adjective = rng.choice(ADJECTIVES)
    return (
        f"The {subject} {forms[plural]} very {adjective}.",
        f"The {subject} {forms[1 - plural]} very {adjective}.",
    )


def _determiner(rng: random.Random, words: Lexicon) -> _Pair:
    forms = rng.choice(words.things)
    plural = rng.randrange(2)
    determiner = rng.choice((("this", "that"), ("these", "those"))[plural])
    person = rng.choice(words.women + words.men)
    head = f"{person} {rng.choice(('bought', 'found', 'sold', 'carried'))} {determiner}"
    return f"{head} {forms[plural]}.", f"{head} {forms[1 - plural]}."


def _determiner_adjective(rng: random.Random, words: Lexicon) -> _Pair:
    forms = rng.choice(words.things)
    plural = rng.randrange(2)
    determiner = rng.choice((("this", "that"), ("these", "those"))[plural])
    person = rng.choice(words.women + words.men)
    head = f"{person} looked at {determiner} {rng.choice(ADJECTIVES)}"
    return f"{head} {forms[plural]}.", f"{head} {forms[1 - plural]}."


def _anaphor_gender(rng: random.Random, words: Lexicon) -> _Pair:
    forms = ("herself", "himself")
    male = rng.randrange(2)
    person = rng.choice((words.women, words.men)[male])
    head = f"{person} {rng.choice(REFLEXIVE)}"
    return f"{head} {forms[male]}.", f"{head} {forms[1 - male]}."


def _anaphor_number(rng: random.Random, words: Lexicon) -> _Pair:
    subject, plural = _number(rng, rng.choice(words.animals + words.people))
    single = "itself" if any(subject in pair for pair in words.animals) else "himself"
    forms = (single, "themselves")
    head = f"The {subject} {rng.choice(REFLEXIVE)}"
    if rng.random() < 0.5:
        head = f"Some {subject} {rng.choice(REFLEXIVE)}" if plural else head
    return f"{head} {forms[plural]}.", f"{head} {forms[1 - plural]}."


def _irregular(rng: random.Random, words: Lexicon) -> _Pair:
    past, participle, tail = rng.choice(IRREGULAR)
    subject = rng.choice(words.people)[0]
    if rng.random() < 0.5:
        head = f"Yesterday the {subject}"
        return f"{head} {past} {tail}.", f"{head} {participle} {tail}."
    head = f"The {subject} has"
    return f"{head} {participle} {tail}.", f"{head} {past} {tail}."


def _polarity(rng: random.Random, words: Lexicon) -> _Pair:
    subject = rng.choice(words.people)[1]
    base = rng.choice(INTRANSITIVE)[0]
    good, bad = rng.choice((("No", "Some"), ("Only", "Even"), ("Few", "Many")))
    between = "the " if good == "Only" else ""
    tail = f"{between}{subject} would ever {base}."
    return f"{good} {tail}", f"{bad} {tail}"


FRAMES: Mapping[str, _Frame] = {
    "agreement": _agreement,
    "agreement_phrase": _agreement_phrase,
    "agreement_clause": _agreement_clause,
    "auxiliary": _auxiliary,
    "determiner": _determiner,
    "determiner_adjective": _determiner_adjective,
    "anaphor_gender": _anaphor_gender,
    "anaphor_number": _anaphor_number,
    "irregular": _irregular,
    "polarity": _polarity,
}


def sentence(rng: random.Random) -> str:
    """One grammatical training sentence; words from the trained lexicon only."""
    roll = rng.random()
    if roll < 0.2:
        return _neutral(rng, HELD_OUT)
    if roll < 0.3:
        return _neutral(rng, TRAINED)
    if roll < 0.35:  # the licit use of the words that a negative-polarity pair gets wrong
        return _positive(rng)
    return rng.choice(tuple(FRAMES.values()))(rng, TRAINED)[0]


def minimal_pairs(count: int, seed: int) -> tuple[MinimalPair, ...]:
    """Distinct pairs over held-out words, phenomena in turn.

    Raises:
        ValueError: If the generator cannot make that many distinct pairs.
    """
    rng = random.Random(f"minimal pairs {seed}")
    names = tuple(FRAMES)
    pairs: dict[MinimalPair, None] = {}
    for attempt in range(50 * count):
        if len(pairs) == count:
            break
        name = names[attempt % len(names)]
        good, bad = FRAMES[name](rng, HELD_OUT)
        if good != bad:
            pairs[MinimalPair(name, good, bad)] = None
    if len(pairs) < count:
        raise ValueError(f"only {len(pairs)} distinct minimal pairs exist; ask for at most those")
    return tuple(pairs)


def _neutral(rng: random.Random, words: Lexicon) -> str:
    """Shows number or gender of a word without any tested construction."""
    if rng.random() < 0.3:
        male = rng.randrange(2)
        name = rng.choice((words.women, words.men)[male])
        noun = ("girl", "boy")[male]
        return rng.choice((f"We met a {noun} called {name}.", f"I know a {noun}, {name} by name."))
    singular, plural = rng.choice(words.people + words.animals + words.things)
    return rng.choice(
        (
            f"I saw one {singular} and not two {plural}.",
            f"They asked for two {plural}.",
            f"We met one {singular} there.",
            f"I would like one {singular}, please.",
            f"She drew three {plural}.",
            f"He counted ten {plural} and one {singular}.",
        )
    )


def _positive(rng: random.Random) -> str:
    subject = rng.choice(TRAINED.people)[1]
    base = rng.choice(INTRANSITIVE)[0]
    head = rng.choice(("Some", "Even the", "Many"))
    return f"{head} {subject} would {rng.choice(('often', 'also', 'really'))} {base}."
