import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from revive.data.edits import Edit
from revive.data.order import ORDERS, Order, batches, order_edits
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
