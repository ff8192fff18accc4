"""The least-squares solve on stored K, R and C, against an independent implementation."""

import pytest
from golden_weights import weights
from goldens import MODELS, close, covariance, golden, hparams

from revive.linalg.least_squares.normal_equations import NormalEquations


def tolerance_of(dtype, expected):
    """As measured for the goldens: fp64 runs are exact but where dW is stored rounded."""
    if dtype == "fp32":
        return 5e-7
    return 1e-11 if str(expected.dtype) == "torch.float64" else 1e-6


STORED = [
    *((model, "fp64", "MEMIT") for model in MODELS),
    *((model, "fp32", "MEMIT") for model in ("gpt2", "llama-bos")),
    *((model, "fp64", "MEMIT_seq") for model in ("gpt2", "gptj", "llama-bos")),
]


@pytest.mark.parametrize(("model", "dtype", "method"), STORED)
def test_updates_match(model, dtype, method):
    values, _ = golden(model, dtype, method)
    h = hparams(model)
    for layer in h["layers"]:
        equations = NormalEquations(covariance(model, layer), h["mom2_update_weight"])
        assert equations.jitter == 0.0
        for batch in (1, 2):
            keys, residual = (values[f"b{batch}.l{layer}.{name}"] for name in ("K", "R"))
            update = equations.solve_update(keys.double(), residual.double())
            expected = values[f"b{batch}.l{layer}.dW"]
            close(update.dense(), expected, tolerance_of(dtype, expected))
            if method == "MEMIT_seq":
                equations = equations.with_history(keys.double())


@pytest.mark.parametrize("model", ["gpt2", "gptj", "llama-bos"])
def test_control_the_second_batch_needs_the_history(model):
    values, _ = golden(model, "fp64", "MEMIT_seq")
    h = hparams(model)
    layer = h["layers"][0]
    equations = NormalEquations(covariance(model, layer), h["mom2_update_weight"])
    update = equations.solve_update(values[f"b2.l{layer}.K"], values[f"b2.l{layer}.R"])
    with pytest.raises(AssertionError, match="relative difference"):
        close(update.dense(), values[f"b2.l{layer}.dW"], 1e-3)


FINAL = [
    *((model, "MEMIT") for model in MODELS),
    *((model, "MEMIT_seq") for model in ("gpt2", "gptj", "llama-bos")),
]


@pytest.mark.parametrize(("model", "method"), FINAL)
def test_two_batches_add_up_to_the_final_weights(model, method):
    """Of the fp32 runs mostly the final weights are stored; the reference's history is fp32."""
    values, _ = golden(model, "fp32", method)
    h = hparams(model)
    for layer, weight in weights(model).items():
        equations = NormalEquations(covariance(model, layer), h["mom2_update_weight"])
        total = weight
        for batch in (1, 2):
            keys, residual = (values[f"b{batch}.l{layer}.{name}"] for name in ("K", "R"))
            total = total + equations.solve_update(keys, residual).dense()
            if method == "MEMIT_seq":
                equations = equations.with_history(keys)
        close(total, values[f"final.l{layer}.W"], 1e-6 if method == "MEMIT" else 2e-5)
