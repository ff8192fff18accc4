"""Gradients at the outputs of edited sites, per position, in every family."""

import pytest
import torch
from tiny import BUILDERS, byte_tokenizer, tiny_model

from revive.models.family import family_of, read_weight
from revive.models.forward.activation_hooks import inputs_of
from revive.models.forward.padding import padded
from revive.models.forward.runner import BlockRunner
from revive.moments.gradient_moments import _gradients, collect_gradients

# Norms in fp32, whatever the model's dtype: gradients agree to that. Gemma 2 has its attention in
# fp32 too, where fp64's mask is minus infinity, and padding beyond a window NaN.
DTYPES = dict.fromkeys(BUILDERS, torch.float64) | {"gemma2": torch.float32}
TEXTS = ["The ship left the harbour.", "Nobody saw it.", "It was cold, and dark."]


@pytest.fixture(params=sorted(BUILDERS))
def runner(request):
    model = tiny_model(request.param, dtype=DTYPES[request.param])
    return BlockRunner(model, family_of(model))


def test_gradients_and_inputs_make_up_the_weights_own_gradient(runner):
    """dL/dW = sum over positions of g x^T: what autograd finds for the weight itself."""
    sites = runner.family.sites(runner.model, layers=[0, 1])
    tokenizer = byte_tokenizer()
    ids, mask = padded([tokenizer(t)["input_ids"] for t in TEXTS])
    with inputs_of(runner, sites) as inputs:
        found = _gradients(runner, sites, ids, mask)
    logits = runner.model(input_ids=ids, attention_mask=mask).logits[:, :-1]
    nll = torch.nn.functional.cross_entropy(logits.transpose(1, 2), ids[:, 1:], reduction="none")
    (nll * mask[:, 1:]).sum().backward()
    parameters = dict(runner.model.named_parameters())
    for site in sites:
        whole = torch.einsum("rlo,rli->oi", found[site.parameter], inputs[site.parameter])
        gradient = parameters[site.parameter].grad
        expected = gradient.T if site.transposed else gradient
        assert whole.shape == read_weight(runner.model, site).shape
        tolerance = 1e-4 if runner.family.entry is not None else 1e-9
        torch.testing.assert_close(whole, expected, rtol=1e-5, atol=tolerance)
        # The control: gradients that belong to other positions do not make it up.
        rolled = torch.einsum(
            "rlo,rli->oi", found[site.parameter].roll(1, 1), inputs[site.parameter]
        )
        assert not torch.allclose(rolled, expected, rtol=1e-2, atol=1e-4)


def test_the_moment_is_that_of_all_real_positions(runner):
    sites = runner.family.sites(runner.model, layers=[1])
    tokenizer = byte_tokenizer()
    moments = collect_gradients(runner, tokenizer, sites, TEXTS, tokens_per_batch=40)
    rows = [tokenizer(t)["input_ids"] for t in TEXTS]
    total, count = torch.zeros(sites[0].shape[0], sites[0].shape[0]).double(), 0
    for row in rows:
        ids, mask = padded([row])
        g = _gradients(runner, sites, ids, mask)[sites[0].parameter][0]
        total, count = total + g.T @ g, count + len(row)
    moment = moments[sites[0].parameter]
    assert moment.count == count
    torch.testing.assert_close(moment.value().double(), total / count, rtol=1e-4, atol=1e-9)


def test_the_model_is_left_as_it_was(runner):
    sites = runner.family.sites(runner.model, layers=[0])
    before = {k: v.clone() for k, v in runner.model.state_dict().items()}
    runner.model.train()
    collect_gradients(runner, byte_tokenizer(), sites, TEXTS)
    assert runner.model.training
    assert all(p.requires_grad and p.grad is None for p in runner.model.parameters())
    assert all(torch.equal(v, before[k]) for k, v in runner.model.state_dict().items())
