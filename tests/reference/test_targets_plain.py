"""The batched target solver equals the plain one, whatever the batch, the model, or the dtype."""

from dataclasses import replace

import pytest
import torch
from goldens import MODELS, load_runner, token_rows
from plain_targets import plain_target

from revive.editors.target_solver.targets import TargetSettings, solve_targets
from revive.editors.target_solver.tokenized_edit import TokenizedEdit

PLAIN = {"weight_decay": 0.3, "kl_factor": 0.0625, "clamp": 1.5, "stop_loss": 0.05}


def relative(actual, expected):
    return float((actual.double() - expected.double()).norm() / expected.double().norm())


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-6), (torch.float32, 1e-4)], ids=["fp64", "fp32"]
)
@pytest.mark.parametrize("model", MODELS)
def test_batched_equals_plain(model, dtype, tolerance):
    runner = load_runner(model, dtype)
    rows = token_rows(model, "0") + token_rows(model, "1")
    layer = 1
    options = {"steps": 8, "lr": 0.05, **PLAIN}
    batched = solve_targets(runner, rows, TargetSettings(layer=layer, **options))
    block = runner.family.blocks_of(runner.model)[layer]
    for i, edit in enumerate(rows):
        z, loss, evaluations = plain_target(runner.model, block, edit, **options)
        assert relative(batched.z[i], z) <= tolerance
        assert int(batched.evaluations[i]) == evaluations
        assert float(batched.loss[i]) == pytest.approx(loss, rel=1e-3)


@pytest.mark.parametrize("model", MODELS)
def test_edits_do_not_see_each_other(model):
    runner = load_runner(model, torch.float32)
    rows = token_rows(model, "0")
    s = TargetSettings(layer=0, steps=6, lr=0.05, **PLAIN)
    together = solve_targets(runner, rows, s)
    for i in range(len(rows)):
        alone = solve_targets(runner, [rows[i]], s)
        assert relative(together.z[i], alone.z[0]) <= 1e-4
    small_chunks = TargetSettings(layer=0, steps=6, lr=0.05, tokens_per_chunk=1, **PLAIN)
    assert relative(together.z, solve_targets(runner, rows, small_chunks).z) <= 1e-4


def test_an_early_stop_freezes_that_edit_alone():
    runner = load_runner("llama-bos", torch.float64)
    rows = token_rows("llama-bos", "0")
    free = solve_targets(runner, rows, TargetSettings(layer=1, steps=12, lr=0.2, **PLAIN))
    threshold = float(free.loss.median())
    stop = {**PLAIN, "stop_loss": threshold}
    stopped = solve_targets(runner, rows, TargetSettings(layer=1, steps=12, lr=0.2, **stop))
    assert len(stopped.evaluations.unique()) > 1
    full = stopped.evaluations == 12
    assert bool(full.any())
    assert relative(stopped.z[full], free.z[full]) <= 1e-9


@pytest.mark.parametrize("model", MODELS[:3])
@pytest.mark.parametrize(
    "how",
    [
        {"lr": 0.3, "stop_margin": 0.0},
        {"lr": 0.3, "stop_margin": 0.5},
        {"optimizer": "polyak", "max_step": 0.2, "stop_margin": 0.5},
    ],
    ids=["adam, first rank", "adam, margin", "polyak, margin"],
)
def test_a_stop_by_the_answer_equals_the_plain_one(model, how):
    runner = load_runner(model, torch.float64)

    # Two rows and the first token: more than that these tiny models never rank first.
    def shortened(row):
        return replace(row, positions=row.positions[:1], labels=row.labels[:1])

    rows = [
        TokenizedEdit(tuple(map(shortened, e.rewrite[:2])), e.essence)
        for e in token_rows(model, "0") + token_rows(model, "1")
    ]
    options = {**PLAIN, "steps": 12, "clamp": 8.0, **how, "stop_loss": 0.0}
    batched = solve_targets(runner, rows, TargetSettings(layer=1, **options))
    block = runner.family.blocks_of(runner.model)[1]
    for i, edit in enumerate(rows):
        z, _, evaluations = plain_target(runner.model, block, edit, **options)
        assert int(batched.evaluations[i]) == evaluations
        assert relative(batched.z[i], z) <= 1e-6
    assert len(batched.evaluations.unique()) > 1, "some stop earlier than others"


def test_the_reference_can_fail():
    """Negative control: another learning rate gives another z."""
    runner = load_runner("gpt2", torch.float64)
    rows = token_rows("gpt2", "0")[:1]
    batched = solve_targets(runner, rows, TargetSettings(layer=1, steps=8, lr=0.06, **PLAIN))
    block = runner.family.blocks_of(runner.model)[1]
    z, _, _ = plain_target(runner.model, block, rows[0], steps=8, lr=0.05, **PLAIN)
    assert relative(batched.z[0], z) > 1e-4


def test_a_hostile_edit_fails_alone():
    runner = load_runner("llama-bos", torch.float32)
    rows = token_rows("llama-bos", "0")
    s = TargetSettings(layer=1, steps=4, lr=0.05, **PLAIN)
    alone = solve_targets(runner, rows[1:], s)
    with torch.no_grad():
        # A token that only the first edit's subject uses gets a NaN embedding.
        used = {t for edit in rows[1:] for r in (*edit.rewrite, edit.essence) for t in r.input_ids}
        used |= {t for edit in rows[1:] for r in edit.rewrite for t in r.labels}
        own = [t for t in rows[0].rewrite[0].input_ids if t not in used]
        runner.model.get_input_embeddings().weight[own[0]] = float("nan")
    mixed = solve_targets(runner, rows, s)
    assert mixed.failed.tolist() == [True] + [False] * (len(rows) - 1)
    assert relative(mixed.z[1:], alone.z) <= 1e-4
