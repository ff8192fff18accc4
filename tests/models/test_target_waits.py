"""How often solving targets waits for the device, and in what chunks it is done."""

from dataclasses import replace

import pytest
import torch
from test_targets import EDITS, SETTINGS, encoded, runner
from tiny import byte_tokenizer
from torch.utils._python_dispatch import TorchDispatchMode

from revive.data.edits import Edit
from revive.editors.target_solver.targets import _size, solve_targets
from revive.editors.target_solver.tokenized_edit import encode_edit
from revive.estimate.target_chunks import CHUNK, Size, split_batch, step_on


class Waits(TorchDispatchMode):
    """Counts what makes the host wait for an accelerator: reading numbers, sizes that are data."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        indices = args[1] if name in ("index", "index_put", "index_put_") else ()
        masked = any(i is not None and i.dtype == torch.bool for i in indices)
        reads = name in ("_local_scalar_dense", "nonzero", "masked_select", "equal")
        self.count += masked or reads
        return func(*args, **(kwargs or {}))


def waits(look_every, steps, stop_loss=0.0, margin=None):
    run, rows = runner("gpt2", torch.float64), encoded(bos=False)
    run.model.config._attn_implementation = "eager"
    s = settings(look_every=look_every, steps=steps, stop_loss=stop_loss, stop_margin=margin)
    with Waits() as seen:
        solve_targets(run, rows, s)
    return seen.count


def settings(**changes):
    return replace(SETTINGS, **changes)


@pytest.mark.parametrize("margin", [None, 0.0])
def test_a_step_does_not_wait_where_no_look_is_due(margin):
    assert waits(100, 12, margin=margin) == waits(100, 4, margin=margin)
    # Negative control: at every look there is one.
    assert waits(1, 12, margin=margin) - waits(1, 4, margin=margin) >= 8


@pytest.mark.parametrize("margin", [None, 0.0])
def test_looking_seldom_changes_no_result(margin):
    run, rows = runner("llama", torch.float64), encoded(bos=False)
    # Between the losses that these edits begin and end with.
    stopping = settings(steps=12, lr=0.01, stop_loss=5.5, stop_margin=margin)
    often, seldom = (
        solve_targets(run, rows, replace(stopping, look_every=every)) for every in (1, 5)
    )
    torch.testing.assert_close(seldom.z, often.z, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(seldom.loss, often.loss, rtol=1e-9, atol=1e-12)
    assert seldom.evaluations.tolist() == often.evaluations.tolist()
    assert len(often.evaluations.unique()) > 1, "some stop earlier than others"


def chunks(rows, **how):
    return split_batch([_size(row) for row in rows], **how)


def padded(rows, division):
    return sum(
        max(len(r.input_ids) - r.lookup for i in chunk for r in rows[i].rewrite)
        * sum(len(rows[i].rewrite) for i in chunk)
        for chunk in division
    )


def test_no_other_division_in_order_of_length_costs_less():
    tokenizer = byte_tokenizer()
    edits = [Edit("{} is" + " x" * (i % 7), f"S{i}", "y" * (i % 2 + 1)) for i in range(9)]
    rows = [encode_edit(tokenizer, e, ("a",)) for e in edits]
    for step in (1, 12, 40):
        found = chunks(rows, limit=10_000, step=step)
        order = [i for chunk in found for i in chunk]
        costs = []
        for cuts in range(2 ** (len(order) - 1)):
            division = [[order[0]]]
            for place, i in enumerate(order[1:]):
                division.append([i]) if cuts >> place & 1 else division[-1].append(i)
            costs.append(padded(rows, division) + step * len(division))
        assert padded(rows, found) + step * len(found) == min(costs)


def test_chunks_hold_edits_of_one_length_once_they_are_large_enough():
    tokenizer = byte_tokenizer()
    edits = [Edit("{} is" + " x" * (i % 3), f"S{i}", "y") for i in range(30)]
    rows = [encode_edit(tokenizer, e, ("a",)) for e in edits]
    found = chunks(rows, limit=10_000, step=8)
    assert sorted(i for chunk in found for i in chunk) == list(range(30))
    assert [{i % 3 for i in chunk} for chunk in found] == [{0}, {1}, {2}]
    # Too small to be worth a chunk of their own, they share one.
    assert len(chunks(rows, limit=10_000, step=100_000)) == 1
    tokens = [sum(len(r.input_ids) for r in e.rewrite) for e in rows]
    limited = chunks(rows, limit=60, step=8)
    assert all(sum(tokens[i] for i in chunk) <= 60 for chunk in limited)
    assert len(EDITS) == len(chunks(encoded(bos=False), limit=1, step=8))


def test_a_chunk_pays_on_a_cpu_where_it_would_not_on_an_accelerator():
    """A batch of CounterFact's lengths: 100 edits of six rows, suffixes of three to six tokens."""
    sizes = [Size(3 + i % 4, 6, 80.0) for i in range(100)]
    cpu, gpu = (split_batch(sizes, CHUNK, step_on(device)) for device in ("cpu", "cuda"))
    assert [{sizes[i].suffix for i in chunk} for chunk in cpu] == [{3}, {4}, {5}, {6}]
    assert len(gpu) < len(cpu)
