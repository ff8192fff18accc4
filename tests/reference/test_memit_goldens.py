"""Targets, keys, residuals and updates of MEMIT and MEMIT-seq, two sequential batches."""

import pytest
import torch
from goldens import MODELS, close, covariance, golden, hparams, load_runner, token_rows

from revive.editors.key_sweep import KeySweep
from revive.editors.target_solver.targets import TargetSettings, solve_targets
from revive.linalg.least_squares.normal_equations import NormalEquations
from revive.models.ledger import Ledger


def settings(h, layer):
    return TargetSettings(
        layer=layer,
        steps=h["v_num_grad_steps"],
        lr=h["v_lr"],
        weight_decay=h["v_weight_decay"],
        kl_factor=h["kl_factor"],
        clamp=h["clamp_norm_factor"],
    )


# The reference up-casts weights but its model code still works in fp32 in places (README there).
Z_TOLERANCE = {"gpt2": 1e-10, "gptj": 2e-6, "llama-bos": 1e-10, "stories260K-llama": 1e-10}


@pytest.mark.parametrize("model", MODELS)
def test_targets_match_in_fp64(model):
    values, report = golden(model, "fp64", "MEMIT")
    h = hparams(model)
    runner = load_runner(model, torch.float64)
    rows = token_rows(model, "0")
    targets = solve_targets(runner, rows, settings(h, h["layers"][-1]))
    tolerance = Z_TOLERANCE[model]
    close(targets.z, values["b1.z"], tolerance)
    for i, request in enumerate(report["b1.requests"]):
        close(targets.z0[i], values[f"b1.z0.{i}"], tolerance)
        assert int(targets.evaluations[i]) == request["n_evals"]
        assert float(targets.loss[i]) == pytest.approx(request["loss"][-1], rel=1e-5)


@pytest.mark.parametrize("model", ["gptj", "llama-bos", "stories260K-llama"])
def test_early_stops_match(model):
    values, report = golden(model, "fp64", "Z_earlystop")
    h = {**hparams(model), **report.get("hparam_overrides", {})}
    prefix = next(k for k in report if k.endswith("requests"))[: -len("requests")]
    runner = load_runner(model, torch.float64)
    targets = solve_targets(runner, token_rows(model, "z_earlystop"), settings(h, h["layers"][-1]))
    for i, request in enumerate(report[f"{prefix}requests"]):
        assert int(targets.evaluations[i]) == request["n_evals"]
    close(targets.z, values[f"{prefix}z"], Z_TOLERANCE[model])


# MEMIT_seq is not stored for stories260K.
CASES = [(m, "MEMIT") for m in MODELS] + [(m, "MEMIT_seq") for m in MODELS[:3]]


@pytest.mark.parametrize(("model", "method"), CASES)
@pytest.mark.parametrize(("dtype", "first", "second"), [("fp64", 3e-6, 1e-5), ("fp32", 1e-4, 2e-3)])
def test_two_batches_match(model, method, dtype, first, second):
    values, _ = golden(model, dtype, method)
    h = hparams(model)
    runner = load_runner(model, torch.float64 if dtype == "fp64" else torch.float32)
    sites = runner.family.sites(runner.model, layers=h["layers"])
    ledger = Ledger(runner.model, sites)
    equations = {
        s.parameter: NormalEquations(covariance(model, s.layer), h["mom2_update_weight"])
        for s in sites
    }
    for number, tolerance in ((1, first), (2, second)):
        rows = token_rows(model, str(number - 1))
        targets = solve_targets(runner, rows, settings(h, h["layers"][-1]))
        close(targets.z, values[f"b{number}.z"], tolerance)
        sweep = KeySweep(runner, rows, sites[0].layer)
        for index, site in enumerate(sites):
            prefix = f"b{number}.l{site.layer}"
            keys = sweep.keys(site)
            close(keys, values[f"{prefix}.K"], tolerance)
            current = sweep.outputs(sites[-1].layer)
            close(current, values[f"{prefix}.Zcur"], tolerance)
            residual = (targets.z.T - current) / (len(sites) - index)
            close(residual, values[f"{prefix}.R"], 5 * tolerance)
            update = equations[site.parameter].solve_update(keys, residual)
            if f"{prefix}.dW" in values:
                close(update.dense(), values[f"{prefix}.dW"], 5 * tolerance)
            ledger.commit(site.parameter, update)
            if method == "MEMIT_seq":
                equations[site.parameter] = equations[site.parameter].with_history(keys)
    for site in sites:
        if f"final.l{site.layer}.W" in values:
            close(ledger.weight(site.parameter), values[f"final.l{site.layer}.W"], second)
