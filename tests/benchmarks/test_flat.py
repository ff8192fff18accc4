"""A batch costs as much late in a stream as early: work and memory, counted."""

import gc

import pytest
import torch
from tiny import byte_tokenizer, tiny_model

from benchmarks.needs import Cost, targets
from benchmarks.work import cholesky, counted, triangular
from revive.data.edits import Edit
from revive.editors.alphaedit import AlphaEdit
from revive.editors.base import EditContext
from revive.editors.memit import MemitSeq
from revive.editors.target_solver.tokenized_edit import TokenizedEdit, TokenizedPrompt
from revive.engine.engine import Engine
from revive.guards.fitted import FittedGuard
from revive.guards.revive import Revive
from revive.linalg.moments import SecondMoment
from revive.models.family import family_of
from revive.models.forward.runner import BlockRunner
from revive.models.ledger import Ledger
from revive.options.editors import AlphaEditOptions, MemitOptions
from revive.run_folder.journal import Journal

SIZE = 2
# Keys are folded into the base once there are more than d_in / 2 of them: with d_in 48 by every
# 13th batch.
CYCLE = 13
COMMON = {"layers": [0, 1], "steps": 4, "lr": 0.01, "weight_decay": 0.5, "kl_factor": 0.0625}
COMMON |= {"clamp": 0.1, "contexts": 1, "stop_loss": 0.0}
EDITORS = {
    "memit-seq": lambda: MemitSeq(MemitOptions(**COMMON, ridge=1000.0)),
    "alphaedit": lambda: AlphaEdit(AlphaEditOptions(**COMMON, l2=1.0)),
}


def built(editor):
    model = tiny_model("llama", dtype=torch.float32)
    model.config._attn_implementation = "eager"
    family = family_of(model)
    sites = family.sites(model, layers=[0, 1])
    ledger = Ledger(model, sites)
    moments = {}
    for seed, site in enumerate(sites):
        moment = SecondMoment(site.shape[1])
        generator = torch.Generator().manual_seed(seed)
        moment.update(torch.randn(400, site.shape[1], generator=generator) ** 3)
        moments[site.parameter] = moment
    runner = BlockRunner(model, family)
    context = EditContext(runner, byte_tokenizer(), sites, ("Yes",), moments, ledger)
    editor.prepare(context)
    originals = {s.parameter: ledger.original(s.parameter) for s in sites}
    return Engine(context, ledger, editor, FittedGuard(Revive(), originals))


def batch(step):
    """Edits of the same lengths, whatever the step."""
    return [
        Edit("{} is", f"S{step:03d}{i}", f"{(step + i) % 10}", id=f"{step}-{i}")
        for i in range(SIZE)
    ]


def held():
    """Bytes of all tensors there are."""
    gc.collect()
    # By type alone: isinstance would wake lazy objects of other libraries.
    tensors = [o for o in gc.get_objects() if type(o) in (torch.Tensor, torch.nn.Parameter)]
    storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}
    return sum(storages.values())


@pytest.mark.parametrize(
    "last", [3 * CYCLE - 1, pytest.param(16 * CYCLE - 1, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("name", EDITORS)
def test_work_and_memory_do_not_grow_with_the_edits_made(name, last):
    engine = built(EDITORS[name]())
    early, late = range(2, 2 + CYCLE), range(last - CYCLE + 1, last + 1)
    # AlphaEdit's keys are folded into nothing at first, from then on into a factor.
    settled = range(2 + CYCLE, 2 + 2 * CYCLE)
    work, memory = {}, {}
    for step in range(1, last + 1):
        if step in early or step in settled or step in late:
            work[step] = counted(lambda step=step: engine.apply(batch(step)))
        else:
            engine.apply(batch(step))
        # Right before keys are folded in most are held; AlphaEdit has no [d_in, d_in] factor
        # before that has happened once.
        if step in (2 * CYCLE - 1, last):
            memory[step] = held()
    assert len(set(work.values())) > 2, "the history is part of what is counted"
    assert sum(work[s] for s in late) <= 1.05 * sum(work[s] for s in early)
    assert max(work[s] for s in late) <= 1.05 * max(work[s] for s in settled)
    assert memory[last] <= 1.02 * memory[2 * CYCLE - 1]


@pytest.mark.parametrize(
    ("depth", "width", "inner", "vocabulary", "layers"),
    [(12, 768, 3072, 50_257, 3), (32, 4096, 14_336, 128_256, 5)],
    ids=["gpt2", "llama-3-8b"],
)
def test_at_real_sizes_the_longest_history_is_a_small_part_of_a_batch(
    depth, width, inner, vocabulary, layers
):
    """Batch 2 has no history to speak of; no later batch does more than this on top of it."""
    n, d, h = 100, inner, inner // 2
    block = 4 * width**2 + 2 * width * inner
    cost = Cost("float32", depth, block, width, width * vocabulary, width * inner)
    text = TokenizedPrompt(tuple(range(20)), 15, (18,), (1,))
    rows = [TokenizedEdit((text,) * 6, TokenizedPrompt(tuple(range(4)), 3))] * n
    whole = targets(cost, rows, depth // 3, 20).total
    solving = 4 * d * h * n + 2 * triangular(h, n)
    growing = 2 * d * d * n + 2 * d * h * n + triangular(h, n)
    folding = (2 * d**3 + cholesky(d) + 2 * d * d * h) / (h / n)
    assert layers * (solving + growing + folding) <= 0.05 * whole


def test_a_journal_is_not_read_again_for_every_line(tmp_path):
    class Untouched(list):
        def __iter__(self):
            raise AssertionError("the events were gone through")

    empty = {"edits": [], "made": [], "failed": [], "sites": {}, "seconds": {}}
    journal = Journal.open(tmp_path / "journal.jsonl")
    for step in (1, 2, 3):
        journal.append("batch", step, **empty)
    journal._events = Untouched(journal._events)
    journal.append("batch", 4, **empty)
    assert journal.committed_step() == 4
    journal.append("rollback", 1, to=1)
    journal.append("batch", 2, **empty)
    assert (
        journal.committed_step() == Journal.open(tmp_path / "journal.jsonl").committed_step() == 2
    )
