from decimal import Decimal

import pytest

from revive.tasks.answers import read_label, read_number
from revive.tasks.item import Item
from revive.tasks.selection import choose


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("positive", 1),
        ("Negative.", 0),
        ("It is positive, not negative.", 1),
        ("positively awful", None),
        ("", None),
    ],
)
def test_the_first_label_that_stands_as_a_word(text, label):
    assert read_label(text, ("negative", "positive")) == label


def test_a_label_inside_a_longer_one_is_not_that_label():
    labels = ("entailment", "not_entailment")
    assert read_label("not_entailment", labels) == 1
    assert read_label("entailment", labels) == 0
    assert read_label("not true", ("not", "not true")) == 1


@pytest.mark.parametrize(
    ("text", "label"),
    [("B", 1), ("(c) because", 2), ("b. a cat", 1), ("a cat: B", 0), ("The answer is B", None)],
)
def test_a_letter_counts_where_it_opens_the_text(text, label):
    assert read_label(text, ("A", "B", "C")) == label


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("24 * 24 = 576 tiles. The answer is 576.", "576"),
        ("The answer is $1,200.50 for 3 days", "1200.5"),
        ("so 12 and then 7", "7"),
        ("The answer is -4", "-4"),
        ("10-4", "4"),
        ("the answer is 1. No: the answer is 2, of 9", "2"),
        ("576.0", "576"),
        ("The answer is unknown, 5", "5"),
        ("none", None),
        ("", None),
    ],
)
def test_the_number_of_an_answer(text, number):
    found = read_number(text)
    assert found == (None if number is None else Decimal(number))


def items(*groups):
    return [Item(prompt=f"{g}{i}", group=g) for i, g in enumerate(groups)]


def test_a_sample_is_even_over_groups_nested_and_fixed_by_the_seed():
    every = items(*("abc" * 20), *("d" * 100))
    some = choose(every, 12, 0)
    assert sorted(item.group for item in some) == sorted("abcd" * 3)
    assert some == choose(every, 12, 0)
    assert some != choose(every, 12, 1)
    assert set(choose(every, 5, 0)) < set(some) < set(choose(every, 90, 0))
    places = [every.index(item) for item in some]
    assert places == sorted(places)
    assert choose(every, None, 0) == choose(every, 10_000, 0) == every
    assert len(choose(every, 90, 0)) == 90


def test_another_order_of_groups_changes_no_groups_sample():
    every = items(*("a" * 9), *("b" * 9))
    turned = every[9:] + every[:9]
    assert set(choose(every, 8, 0)) == set(choose(turned, 8, 0))
