"""Fine-tuning of one edit on four models, driven by the stored tokens.

The reference also tunes the bias where there is one; the descent takes any parameters, so the test
gives it the bias too.
"""

import random

import pytest
import torch
from goldens import MODELS, close, golden, hparams, load_runner

from revive.editors.finetune_loop import finetune
from revive.editors.ft import ended
from revive.editors.target_solver.tokenized_edit import TokenizedPrompt
from revive.models.forward.frozen import frozen


def tuned(model, objective="last-token", **changed):
    values, report = golden(model, "fp64", "FT")
    h = hparams(model, "FT")
    runner = load_runner(model, torch.float64)
    own = dict(runner.model.named_parameters())
    prompt, targets = report["prompt_ids"], report["target_ids"]
    ids = (*prompt, *targets[:-1])
    positions = tuple(range(len(prompt) - 1, len(ids)))
    row = TokenizedPrompt(tuple(ids), 0, positions, tuple(targets))
    settings = {"layer": h["layers"][0], "steps": h["num_steps"], "lr": h["lr"]}
    settings["box"] = h["norm_constraint"] or None
    with frozen(runner.model):
        found = finetune(
            runner,
            {name: own[name].detach() for name in report["param_names"]},
            [row],
            objective=objective,
            stop_loss=1e-2,
            **{**settings, **changed},
        )
    return values, report, own, found


@pytest.mark.parametrize("model", MODELS)
def test_one_edit_matches(model):
    values, report, own, found = tuned(model)
    assert found.losses == pytest.approx(report["batch_loss"], rel=1e-5)
    for name in report["param_names"]:
        delta = found.values[name] - own[name].detach()
        expected = values[f"delta.{name}"]
        delta = delta if delta.shape == expected.shape else delta.T
        close(delta, expected, 1e-4)


def test_the_objective_matters():
    _, report, _, found = tuned("llama-bos", objective="target")
    assert found.losses[0] != pytest.approx(report["batch_loss"][0], rel=1e-3)


def test_the_box_holds():
    _, _, own, found = tuned("gpt2", box=1e-3, lr=0.1)
    for name, value in found.values.items():
        assert float((value - own[name].detach()).abs().max()) <= 1e-3 * (1 + 1e-9)
    _, _, own, free = tuned("gpt2", box=None, lr=0.1)
    assert any(float((v - own[n].detach()).abs().max()) > 1e-2 for n, v in free.values.items())


@pytest.mark.parametrize("model", MODELS)
def test_what_is_below_the_tuned_block_may_be_run_once(model):
    _, report, _, found = tuned(model)
    assert hparams(model, "FT")["layers"][0] > 0
    _, _, _, whole = tuned(model, layer=0)
    assert found.losses == pytest.approx(whole.losses, rel=1e-9)
    for name in report["param_names"]:
        close(found.values[name], whole.values[name], 1e-9)


def rows_of(model, count):
    """Made-up rows of a golden model."""
    _, report = golden(model, "fp64", "FT")
    prompt, targets = report["prompt_ids"], report["target_ids"]
    ids = [(*prompt[:-1], prompt[-1] - i, *targets[:-1]) for i in range(count)]
    at = tuple(range(len(prompt) - 1, len(ids[0])))
    return [TokenizedPrompt(row, 0, at, tuple(targets)) for row in ids]


def descended(model, rows, **settings):
    runner = load_runner(model, torch.float64)
    (site,) = runner.family.sites(runner.model, layers=[1])
    start = {site.parameter: runner.model.get_parameter(site.parameter).detach().clone()}
    base = {"layer": 1, "objective": "target", "steps": 3, "lr": 1e-2, "box": None}
    with frozen(runner.model):
        found = finetune(runner, start, rows, stop_loss=0.0, **{**base, **settings})
    return runner, start, found


def plain_epochs(runner, start, rows, orders, lr):
    """Adam over single rows in given orders, through the whole model."""
    (name,) = start
    weight = runner.model.get_parameter(name)
    weight.requires_grad_()
    optimizer = torch.optim.Adam([weight], lr=lr)
    for order in orders:
        for i in order:
            optimizer.zero_grad()
            logits = runner.model(input_ids=torch.tensor([rows[i].input_ids])).logits[0]
            read = logits[list(rows[i].positions)].log_softmax(-1)
            labels = torch.tensor(rows[i].labels)
            torch.nn.functional.nll_loss(read, labels).backward()
            optimizer.step()
    return weight.detach()


@pytest.mark.parametrize("model", ["gpt2", "llama-bos"])
def test_minibatches_are_epochs_of_single_steps(model):
    rows = rows_of(model, 3)
    _, start, found = descended(model, rows, rows_per_step=1, seed=5)
    draw = random.Random(5)
    drawn = draw.sample(range(3), 3)
    orders = [[drawn[i] for i in draw.sample(range(3), 3)] for _ in range(3)]
    runner = load_runner(model, torch.float64)
    expected = plain_epochs(runner, start, rows, orders, 1e-2)
    (tuned_weight,) = found.values.values()
    close(tuned_weight, expected, 1e-7)
    # Negative controls: another order, and one step to an epoch.
    for other in ({"seed": 6, "rows_per_step": 1}, {"rows_per_step": 3}):
        (weight,) = descended(model, rows, **other)[2].values.values()
        assert float((weight - expected).norm()) > 1e-3 * float((expected - start_of(start)).norm())


def start_of(start):
    (value,) = start.values()
    return value


def test_a_minibatch_as_large_as_the_batch_is_the_batch():
    rows = rows_of("llama-bos", 3)
    whole, same = (descended("llama-bos", rows, rows_per_step=n)[2] for n in (None, 3))
    assert whole.losses == same.losses
    assert torch.equal(start_of(whole.values), start_of(same.values))


def test_the_end_is_learnt_behind_the_target():
    row = rows_of("llama-bos", 1)[0]
    longer = ended(row, 2)
    assert longer.input_ids == (*row.input_ids, row.labels[-1])
    assert longer.labels == (*row.labels, 2)
    assert longer.positions[-1] == len(longer.input_ids) - 1
    settings = {"steps": 60, "lr": 3e-2}
    for rows, learnt in (([longer], True), ([row], False)):
        runner, start, found = descended("llama-bos", rows, **settings)
        (name,) = start
        runner.model.get_parameter(name).data.copy_(found.values[name])
        logits = runner.model(input_ids=torch.tensor([longer.input_ids])).logits[0, -1]
        assert (int(logits.argmax()) == 2) == learnt
