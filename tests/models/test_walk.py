"""Rows that begin alike come out of the blocks as they do one by one."""

import random
from itertools import combinations, takewhile

import pytest
import torch
from tiny import BUILDERS, MIXTURES, tiny_model

from revive.models.family import family_of
from revive.models.forward.partial_forward import PartialForward
from revive.models.forward.prefix import PrefixCache
from revive.models.forward.runner import BlockRunner, positions_of
from revive.models.forward.shared_prefixes import shared_prefixes

ALL = sorted(BUILDERS | MIXTURES)
WINDOWED = ["mistral", "gemma2", "gemma3", "olmo3"]
ROWS = (
    (5, 6, 7, 8, 9, 1, 2),
    (5, 6, 7, 8, 9, 1, 3, 4),
    (5, 6, 7, 8, 2, 2),
    (9, 8, 7, 6, 5, 4, 3, 2, 1),
    (9, 8, 7, 6, 5, 4, 1),
    (3, 1),
)
LOOKUPS = (6, 6, 5, 7, 6, 0)


def same(found, expected):
    """To what float32 leaves: some families normalise or take their softmax in it, and then the
    order of a sum, which hangs on the processor, decides a last bit."""
    scale = float(expected.abs().max())
    torch.testing.assert_close(found, expected, rtol=0, atol=max(1e-7, 2e-6 * scale))


def alone(runner, row, layer):
    ids = torch.tensor([row])
    with torch.no_grad():
        return runner.embed_through(ids, torch.ones_like(ids), layer - 1)[0]


@pytest.mark.parametrize("name", ALL)
def test_states_are_those_of_every_row_alone(name):
    model = tiny_model(name, dtype=torch.float64)
    runner = BlockRunner(model, family_of(model))
    walk = PartialForward.start(runner, ROWS, LOOKUPS).to(2)
    for i, row in enumerate(ROWS):
        begin = int(walk.first[i])
        expected = alone(runner, row, 2)[begin:]
        found = walk.hidden[i, : len(row) - begin]
        same(found, expected)


@pytest.mark.parametrize("name", ALL)
def test_what_stands_before_a_position_is_the_same(name):
    model = tiny_model(name, dtype=torch.float64)
    runner = BlockRunner(model, family_of(model))
    walk = PartialForward.start(runner, ROWS, LOOKUPS).to(1)
    cut = torch.tensor(LOOKUPS)
    prefix = PrefixCache.before(walk.capture(3), cut, windowed=runner.windowed)
    last = walk.hidden[torch.arange(len(ROWS)), walk.column(cut)][:, None]
    with torch.no_grad():
        out = runner.run(
            last, 1, 3, torch.ones(len(ROWS), 1, dtype=torch.long), cut[:, None], prefix
        )
        for i, (row, at) in enumerate(zip(ROWS, LOOKUPS, strict=True)):
            ids = torch.tensor([row])
            hidden = alone(runner, row, 1)[None]
            mask = torch.ones_like(ids)
            expected = runner.run(hidden, 1, 3, mask, positions_of(mask))[0, at]
            same(out[i, 0], expected)


def test_what_is_shared_is_run_once():
    model = tiny_model("llama")
    runner = BlockRunner(model, family_of(model))
    walk = PartialForward.start(runner, ROWS, LOOKUPS)
    assert walk.first.tolist() == [4, 4, 4, 6, 6, 0]
    assert walk.beginning is not None
    assert walk.beginning.mask.sum(dim=1).tolist() == [4, 6]
    assert int(walk.mask.sum()) == sum(map(len, ROWS)) - 3 * 4 - 2 * 6


def test_a_beginning_is_seen():
    """Control: with another beginning the rest comes out otherwise."""
    model = tiny_model("llama")
    runner = BlockRunner(model, family_of(model))
    other = [(8, *row[1:]) if row[0] == 5 else row for row in ROWS]
    here, there = (PartialForward.start(runner, rows, LOOKUPS).to(2) for rows in (ROWS, other))
    assert here.first.tolist() == there.first.tolist()
    gap = (here.hidden - there.hidden).abs().amax(dim=(1, 2))
    assert bool((gap[:3] > 1e-3).all())
    assert float(gap[3:].max()) < 1e-6


@pytest.mark.parametrize("name", WINDOWED)
def test_a_window_leaves_rows_whole(name):
    model = tiny_model(name)
    walk = PartialForward.start(BlockRunner(model, family_of(model)), ROWS, LOOKUPS)
    assert walk.beginning is None
    assert walk.first.tolist() == [0] * len(ROWS)


def test_the_last_asked_position_is_never_part_of_a_beginning():
    rows = [(1, 2, 3, 4, 5, 6), (1, 2, 3, 4, 5, 6), (1, 2, 3, 4, 5, 9)]
    assert shared_prefixes(rows, [4, 5, 5]).texts == ((1, 2, 3, 4),)
    assert shared_prefixes(rows, [2, 5, 5]).of == (-1, 0, 0)
    assert shared_prefixes(rows, [3, 5, 3]).texts == ()


def saved_by_any_way(rows, limits):
    """Most tokens that can be saved: the best of all ways to group rows (few of them)."""

    def shared(group):
        columns = zip(*(rows[i][: limits[i]] for i in group), strict=False)
        return sum(1 for _ in takewhile(lambda c: len(set(c)) == 1, columns))

    def best(rest):
        if not rest:
            return 0
        first, *others = rest
        found = 0
        for size in range(len(others) + 1):
            for group in combinations(others, size):
                length = shared((first, *group))
                saved = size * length if length >= 4 else 0
                found = max(found, saved + best([i for i in others if i not in group]))
        return found

    return best(list(range(len(rows))))


def test_no_other_grouping_saves_more():
    draw = random.Random(0)
    for _ in range(80):
        rows = []
        for _ in range(7):
            # Grown on one another, so that some agree long and others a little.
            root = draw.choice(rows)[: draw.randint(2, 9)] if rows else ()
            rows.append((*root, *draw.choices((1, 2, 3), k=draw.randint(2, 5))))
        limits = [draw.randint(1, len(row) - 1) for row in rows]
        found = shared_prefixes(rows, limits)
        members = [[i for i, k in enumerate(found.of) if k == b] for b in range(len(found.texts))]
        pairs = list(zip(members, found.texts, strict=True))
        for group, text in pairs:
            assert len(text) >= 4
            assert len(group) > 1
            assert all(rows[i][: len(text)] == text and len(text) <= limits[i] for i in group)
        saved = sum((len(group) - 1) * len(text) for group, text in pairs)
        assert saved == saved_by_any_way(rows, limits)


def test_some_share_more_than_what_they_share_with_the_others():
    rows = [(1, 2, 3, 4, *range(10, 20), i) for i in range(2)]
    rows += [(1, 2, 3, 4, 20 + i, 5) for i in range(3)]
    found = shared_prefixes(rows, [len(row) - 1 for row in rows])
    assert found.of == (1, 1, 0, 0, 0)
    assert [len(text) for text in found.texts] == [4, 14]
