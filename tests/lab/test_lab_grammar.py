import random
import re
from collections import Counter

import pytest

from revive.lab import copying, corpus, grammar
from revive.lab.lexicon import COPY_HELD_OUT, COPY_TRAINED, HELD_OUT, TRAINED

WORD = re.compile(r"[A-Za-z]+")
NEUTRAL = re.compile(
    r"^(I saw one|They asked for two|We met|I would like one|She drew three|He counted ten|I know)"
)


def words(text):
    return set(WORD.findall(text))


def test_lexicons_do_not_overlap():
    assert not HELD_OUT.words & TRAINED.words
    assert not set(COPY_HELD_OUT) & set(COPY_TRAINED)
    assert not HELD_OUT.words & {*COPY_HELD_OUT, *COPY_TRAINED}
    assert len(set(COPY_TRAINED)) == len(COPY_TRAINED)


def test_pairs_are_deterministic_distinct_and_cover_every_phenomenon():
    pairs = grammar.minimal_pairs(300, 0)
    assert pairs == grammar.minimal_pairs(300, 0)
    assert pairs != grammar.minimal_pairs(300, 1)
    assert len(set(pairs)) == 300
    assert set(Counter(pair.phenomenon for pair in pairs)) == set(grammar.FRAMES)


def test_pairs_differ_in_exactly_one_stretch_of_words():
    for pair in grammar.minimal_pairs(300, 0):
        good, bad = pair.good.split(), pair.bad.split()
        assert len(good) == len(bad)
        assert sum(left != right for left, right in zip(good, bad, strict=True)) == 1


def test_no_sentence_is_both_good_and_bad():
    pairs = grammar.minimal_pairs(500, 0)
    assert not {pair.good for pair in pairs} & {pair.bad for pair in pairs}


@pytest.mark.parametrize(
    ("phenomenon", "rule"),
    [
        ("agreement", r"^The (\w+) (\w+) "),
        ("anaphor_gender", r"^(\w+) \w+ (himself|herself)\.$"),
        ("determiner", r"^\w+ \w+ (this|that|these|those) (\w+)\.$"),
    ],
)
def test_frames_keep_their_shape(phenomenon, rule):
    found = [p for p in grammar.minimal_pairs(300, 0) if p.phenomenon == phenomenon]
    assert all(re.match(rule, p.good) and re.match(rule, p.bad) for p in found)


def test_gender_is_right_on_the_good_side():
    for pair in grammar.minimal_pairs(300, 0):
        if pair.phenomenon == "anaphor_gender":
            name = pair.good.split()[0]
            assert ("herself" in pair.good) == (name in HELD_OUT.women)


def test_training_shows_held_out_words_in_neutral_frames_only():
    rng = random.Random(0)
    met = set()
    for _ in range(4000):
        sentence = grammar.sentence(rng)
        held_out = words(sentence) & HELD_OUT.words
        met |= held_out
        if held_out:
            assert NEUTRAL.match(sentence), sentence
    assert met == HELD_OUT.words


def test_training_never_makes_a_tested_sentence():
    tested = {text for p in grammar.minimal_pairs(500, 0) for text in (p.good, p.bad)}
    rng = random.Random(1)
    assert not tested & {grammar.sentence(rng) for _ in range(4000)}


def test_too_many_pairs_are_refused(monkeypatch):
    monkeypatch.setattr(grammar, "FRAMES", {"only": lambda rng, lexicon: ("a", "b")})
    with pytest.raises(ValueError, match="only 1 distinct"):
        grammar.minimal_pairs(2, 0)


def test_copying_pairs_show_held_out_words_and_one_of_the_two_copies_them():
    tested = copying.pairs(100, 0)
    assert tested == copying.pairs(100, 0)
    for pair in tested:
        shown, copied = pair.good.removeprefix("Repeat: ").split(" . Again: ")
        assert copied == shown
        same, other = pair.bad.removeprefix("Repeat: ").split(" . Again: ")
        assert same == shown
        assert not words(other) & words(shown)
        assert len(other.split()) == len(shown.split())
        assert words(shown) | words(other) <= set(COPY_HELD_OUT)


def test_copying_drills_never_use_a_held_out_word():
    pool = copying.vocabulary(["the lemon and the other lantern", "plain words only, Velvet"])
    assert pool == ["and", "only", "other", "plain", "the", "words"]
    rng = random.Random(0)
    for _ in range(50):
        item = copying.drill(rng, pool)
        assert item.prompt == f"Repeat: {item.target} . Again:"


def test_held_out_copy_words_are_never_copied_in_training():
    rng = random.Random(0)
    for _ in range(2000):
        line = corpus.skill_line(rng, "copying")
        if words(line) & set(COPY_HELD_OUT):
            assert not line.startswith("Repeat")


def test_corpus_is_deterministic_and_mixed():
    lines = corpus.sentences(0, 400)
    assert lines == corpus.sentences(0, 400)
    assert lines != corpus.sentences(1, 400)
    assert len(lines) == 400
    assert any(line.startswith("Repeat: ") for line in lines)
    assert any("sq km" in line or "lies in" in line for line in lines)


def test_unknown_kind_of_line_is_refused():
    with pytest.raises(ValueError, match="handbook, grammar or copying"):
        corpus.skill_line(random.Random(0), "poetry")
