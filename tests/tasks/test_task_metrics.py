import math

import numpy as np
import pytest

from revive.tasks.metrics import (
    confusion,
    f1_interval,
    f1_macro,
    f1_weighted,
    majority,
    perplexity,
    perplexity_interval,
    wilson,
)

# Truth, answers (None: unreadable), weighted and macro F1, worked out by hand.
CASES = {
    "all right": ([0, 1, 1], [0, 1, 1], 1.0, 1.0),
    # class 0: 2*1/(2+1) = 2/3; class 1: 2*1/(1+2) = 2/3
    "one wrong": ([0, 0, 1], [0, 1, 1], 2 / 3, 2 / 3),
    # always 1: class 0 F1 0, class 1 2*3/(3+4) = 6/7; weights 1/4 and 3/4
    "constant": ([0, 1, 1, 1], [1, 1, 1, 1], 0.75 * 6 / 7, 3 / 7),
    # class 0: 2*1/(2+1) = 2/3; class 1: 2*1/(2+1) = 2/3, for what cannot be read is nobody's
    "unreadable": ([0, 0, 1, 1], [0, None, 1, None], 2 / 3, 2 / 3),
    # class 2 is neither there nor said: 0 in the plain mean, no weight in the other
    "absent class": ([0, 1], [0, 1], 1.0, 2 / 3),
    # class 0: 2*2/(3+3) = 2/3; class 1: 2*1/(2+2) = 1/2; class 2: 2*1/(1+1) = 1
    "three classes": ([0, 0, 0, 1, 1, 2], [0, 0, 1, 1, 0, 2], (2 + 1 + 1) / 6, (2 / 3 + 1.5) / 3),
}
CLASSES = {"absent class": 3, "three classes": 3}


@pytest.mark.parametrize("name", CASES)
def test_f1_by_hand(name):
    truth, said, weighted, macro = CASES[name]
    table = confusion(truth, said, CLASSES.get(name, 2))
    assert f1_weighted(table) == pytest.approx(weighted)
    assert f1_macro(table) == pytest.approx(macro)


@pytest.mark.parametrize("name", CASES)
def test_f1_is_that_of_scikit_learn(name):
    sklearn = pytest.importorskip("sklearn.metrics", reason="scikit-learn comes with extra eval")
    truth, said, *_ = CASES[name]
    classes = CLASSES.get(name, 2)
    table = confusion(truth, said, classes)
    answers = [-1 if answer is None else answer for answer in said]
    for average, ours in (("weighted", f1_weighted), ("macro", f1_macro)):
        theirs = sklearn.f1_score(
            truth, answers, labels=range(classes), average=average, zero_division=0
        )
        assert ours(table) == pytest.approx(theirs)


@pytest.mark.parametrize(
    ("right", "count", "low", "high"),
    [
        # Newcombe 1998, Statistics in Medicine 17, table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_is_the_published_interval(right, count, low, high):
    assert wilson(right, count) == pytest.approx((low, high), abs=5e-5)


def test_wilson_covers_about_95_of_100_samples():
    rng = np.random.default_rng(0)
    draws = rng.binomial(60, 0.8, size=2000)
    spans = [wilson(int(k), 60) for k in draws]
    covered = np.mean([low <= 0.8 <= high for low, high in spans])
    assert 0.93 < covered < 0.97
    with pytest.raises(ValueError, match="no items"):
        wilson(0, 0)


def test_the_interval_of_f1_is_about_its_spread_over_samples():
    rng = np.random.default_rng(1)

    def sample():
        truth = rng.integers(0, 2, 200)
        flipped = rng.random(200) < 0.3
        return confusion(truth.tolist(), np.where(flipped, 1 - truth, truth).tolist(), 2)

    spread = np.std([f1_weighted(sample()) for _ in range(300)])
    low, high = f1_interval(sample(), f1_weighted)
    assert (high - low) / (2 * 1.96) == pytest.approx(spread, rel=0.2)


def test_perplexity_and_its_interval():
    nll = [1.0, 2.0, 3.0, 2.5, 1.5] * 40
    assert perplexity(nll) == pytest.approx(math.exp(2.0))
    low, high = perplexity_interval(nll)
    assert low < math.exp(2.0) < high
    deviation = np.std(nll) / math.sqrt(len(nll))
    assert math.log(high / low) == pytest.approx(2 * 1.96 * deviation, rel=0.15)
    assert perplexity([5000.0, 1.0]) == math.inf


def test_the_majority_class():
    assert majority([2, 1, 2, 0, 1, 2]) == 2
