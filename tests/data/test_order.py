import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from revive.data.edits import Edit
from revive.data.order import ORDERS, Order, batches, order_edits
from revive.data.stream import Stream
from revive.errors import SpecError


def stream(count: int, relations: int = 3) -> list[Edit]:
    return [
        Edit("{} is", f"s{n}", "x", id=str(n), relation=f"P{n % relations}") for n in range(count)
    ]


@given(st.integers(0, 60), st.sampled_from(ORDERS), st.integers(0, 10**9))
@settings(deadline=None)
def test_every_order_is_a_permutation_that_the_seed_alone_decides(
    count: int, order: Order, seed: int
):
    edits = stream(count)
    ordered = order_edits(edits, order, seed)
    assert sorted(ordered, key=lambda e: int(e.id)) == edits
    assert ordered == order_edits(edits, order, seed)


def test_orders_are_the_same_on_every_machine():
    edits = stream(8)
    assert [e.id for e in order_edits(edits, "random", 1)] == list("20461357")
    assert [e.id for e in order_edits(edits, "clustered", 1)] == list("25036147")


def test_file_order_is_kept():
    assert order_edits(stream(9), "file", 5) == tuple(stream(9))


def test_seeds_differ():
    edits = stream(50)
    assert order_edits(edits, "random", 0) != order_edits(edits, "random", 1)


@given(st.integers(1, 60), st.integers(1, 7), st.integers(0, 100))
@settings(deadline=None)
def test_clusters_are_in_a_row(count: int, relations: int, seed: int):
    ordered = order_edits(stream(count, relations), "clustered", seed)
    changes = sum(a.relation != b.relation for a, b in itertools.pairwise(ordered))
    assert changes == min(relations, count) - 1


def test_without_relations_subjects_are_clusters():
    edits = [Edit("{} is", s, "x", id=str(n)) for n, s in enumerate("abab")]
    ordered = order_edits(edits, "clustered", 0)
    assert [e.subject for e in ordered] in (list("aabb"), list("bbaa"))


def test_an_unknown_order_is_refused():
    with pytest.raises(SpecError, match=r"Did you mean 'random'\?"):
        order_edits(stream(2), "randon", 0)  # pyright: ignore[reportArgumentType]


@given(st.integers(0, 50), st.integers(1, 60))
@settings(deadline=None)
def test_batches_cut_the_stream(count: int, size: int):
    edits = stream(count)
    cut = batches(edits, size)
    assert [e for batch in cut for e in batch] == edits
    assert all(len(b) == size for b in cut[:-1])
    assert all(cut)


def test_an_empty_batch_size_is_refused():
    with pytest.raises(SpecError, match="at least 1"):
        batches(stream(2), 0)


def repeating(facts: list[int]) -> list[Edit]:
    """One edit for every entry; equal entries are of one fact."""
    return [
        Edit("{} is", f"s{fact}", f"x{n}", id=str(n), relation=f"P{fact % 2}")
        for n, fact in enumerate(facts)
    ]


@given(st.lists(st.integers(0, 6), max_size=60), st.sampled_from(ORDERS), st.integers(0, 100))
@settings(deadline=None)
def test_no_order_changes_which_edit_of_a_fact_is_the_latest(
    facts: list[int], order: Order, seed: int
):
    edits = repeating(facts)
    ordered = order_edits(edits, order, seed)
    assert sorted(ordered, key=lambda e: int(e.id)) == edits
    for fact in set(facts):
        own = [int(e.id) for e in ordered if e.subject == f"s{fact}"]
        assert own == sorted(own)


@given(st.lists(st.integers(0, 6), max_size=60), st.integers(1, 9))
@settings(deadline=None)
def test_no_batch_holds_two_edits_of_one_fact(facts: list[int], size: int):
    edits = repeating(facts)
    cut = batches(edits, size)
    flat = [e for batch in cut for e in batch]
    assert sorted(flat, key=lambda e: int(e.id)) == edits
    assert all(cut)
    for batch in cut:
        assert len(batch) <= size
        assert len({e.subject for e in batch}) == len(batch)
    for fact in set(facts):
        own = [int(e.id) for e in flat if e.subject == f"s{fact}"]
        assert own == sorted(own)
    # A batch is only smaller where too few facts are left to fill it.
    for number, batch in enumerate(cut):
        left = {e.subject for later in cut[number + 1 :] for e in later}
        assert len(batch) == size or left <= {e.subject for e in batch}


def test_an_edit_waits_for_the_next_batch_and_no_longer():
    cut = batches(repeating([0, 1, 0, 2, 3, 4]), 3)
    assert [[e.id for e in batch] for batch in cut] == [["0", "1", "3"], ["2", "4", "5"]]


@given(st.lists(st.integers(0, 6), max_size=40), st.integers(1, 9), st.data())
@settings(deadline=None)
def test_the_latest_edit_of_every_fact_stands(facts: list[int], size: int, data: st.DataObject):
    made = Stream(repeating(facts), "file", 0, size)
    step = data.draw(st.integers(0, len(made.batches)))
    removed = data.draw(st.sets(st.sampled_from([e.id for e in made.edits] or ["none"])))
    count = made.count(step)
    assert count == sum(len(batch) for batch in made.batches[:step])
    wanted: dict[str, str] = {}
    for edit in made.edits[:count]:
        if edit.id not in removed:
            wanted[edit.subject] = edit.id
    assert {e.subject: e.id for e in made.standing(count, removed)} == wanted
    for later, earlier in made.supersedes.items():
        assert int(earlier) < int(later)
        assert facts[int(earlier)] == facts[int(later)]
    assert len(made.supersedes) == len(facts) - len(set(facts))
