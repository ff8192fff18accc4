"""NSE's rounds from stored keys, and its targets and neurons, on three models."""

import pytest
import torch
from goldens import close, covariance, golden, hparams

from revive.editors.nse import select_neurons, update_of_neurons
from revive.linalg.least_squares.normal_equations import NormalEquations

CASES = [("gpt2", "NSE"), ("gpt2", "NSE_spaced"), ("gptj", "NSE"), ("llama-bos", "NSE")]


@pytest.mark.parametrize(("model", "method"), CASES)
@pytest.mark.parametrize(("dtype", "tolerance"), [("fp64", 1e-6), ("fp32", 2e-5)])
def test_every_round_matches(model, method, dtype, tolerance):
    values, report = golden(model, dtype, method)
    h = hparams(model, "NSE")
    layers = h["layers"]
    equations = {
        layer: NormalEquations(covariance(model, layer), h["mom2_update_weight"])
        for layer in layers
    }
    compared = 0
    for batch in (1, 2):
        z = values[f"b{batch}.z"].double().T
        for number, told in enumerate(report[f"b{batch}.iters"]):
            missing = z - values[f"b{batch}.it{number}.Zcur_all"].double()
            within = (missing.norm(dim=0) > h["alpha"]) & (missing.norm(dim=0) < h["upper_bound"])
            active = within.nonzero().flatten().tolist()
            assert active == told["active"]
            for index, layer in enumerate(layers):
                prefix = f"b{batch}.it{number}.l{layer}"
                if f"{prefix}.K" not in values:
                    continue
                keys = values[f"{prefix}.K"].double()
                current = values[f"{prefix}.Zcur"].double()
                residual = (z[:, active] - current) / (len(layers) - index)
                neurons = values[f"{prefix}.selected"].bool().nonzero().flatten()
                update = update_of_neurons(equations[layer], keys, residual, neurons).dense()
                if f"{prefix}.dW" not in values:
                    continue
                close(update, values[f"{prefix}.dW"], tolerance)
                unused = torch.ones(keys.shape[0], dtype=torch.bool)
                unused[neurons] = False
                assert float(update[:, unused].abs().sum()) == 0.0
                compared += 1
        for layer in layers:
            after = values[f"b{batch}.l{layer}.K_after_batch"].double()
            equations[layer] = equations[layer].with_history(after)
    assert compared >= 4 or dtype == "fp32"


@pytest.mark.parametrize("model", ["gptj", "llama-bos"])
def test_the_neurons_match(model):
    values, _ = golden(model, "fp64", "NSE")
    threshold = hparams(model, "NSE")["neuron_threshold"]
    compared = 0
    for name, selected in values.items():
        if name.endswith(".selected"):
            keys = values[name.replace(".selected", ".K")]
            expected = selected.bool().nonzero().flatten()
            assert torch.equal(select_neurons(keys, threshold), expected)
            assert not torch.equal(select_neurons(keys, threshold / 2), expected)
            compared += 1
    assert compared >= 6


def test_all_neurons_at_a_share_of_one():
    keys = torch.randn(50, 4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(select_neurons(keys, 1.0), torch.arange(50))
    assert len(select_neurons(keys, 1e-9)) == 1
