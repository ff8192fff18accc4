"""Fine-tuning of one edit on four models, driven by the stored tokens.

The reference also tunes the bias where there is one; the descent takes any parameters, so the test
gives it the bias too.
"""

import pytest
import torch
from goldens import MODELS, close, golden, hparams, load_runner

from revive.editors.descent import descend
from revive.editors.rows import Row
from revive.models.frozen import frozen


def tuned(model, objective="last-token", **changed):
    values, report = golden(model, "fp64", "FT")
    h = hparams(model, "FT")
    runner = load_runner(model, torch.float64)
    own = dict(runner.model.named_parameters())
    prompt, targets = report["prompt_ids"], report["target_ids"]
    ids = (*prompt, *targets[:-1])
    positions = tuple(range(len(prompt) - 1, len(ids)))
    row = Row(tuple(ids), 0, positions, tuple(targets))
    settings = {"layer": h["layers"][0], "steps": h["num_steps"], "lr": h["lr"]}
    settings["box"] = h["norm_constraint"] or None
    with frozen(runner.model):
        found = descend(
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
