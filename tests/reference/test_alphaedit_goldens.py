"""AlphaEdit: the projector, and targets, keys and updates of two sequential batches."""

import pytest
import torch
from golden_runs import FixedMoment
from goldens import MODELS, close, covariance, golden, hparams, load_runner, token_rows

from revive.editors.alphaedit import AlphaEdit
from revive.editors.base import EditContext
from revive.editors.target_editor import SolvedBatch
from revive.editors.target_solver.targets import solve_targets
from revive.engine.engine import Engine
from revive.guards import FittedGuard, NoGuard
from revive.linalg.least_squares.null_space import NullSpace
from revive.models.ledger import Ledger
from revive.options.editors import AlphaEditOptions


def engine(model, dtype):
    h = hparams(model, "AlphaEdit")
    runner = load_runner(model, torch.float64 if dtype == "fp64" else torch.float32)
    sites = runner.family.sites(runner.model, layers=h["layers"])
    ledger = Ledger(runner.model, sites)
    moments = {s.parameter: FixedMoment(covariance(model, s.layer)) for s in sites}
    options = AlphaEditOptions(
        layers=h["layers"],
        steps=h["v_num_grad_steps"],
        lr=h["v_lr"],
        weight_decay=h["v_weight_decay"],
        kl_factor=h["kl_factor"],
        clamp=h["clamp_norm_factor"],
        l2=float(h["L2"]),
        null_space="absolute",
        threshold=h["nullspace_threshold"],
    )
    editor = AlphaEdit(options)
    context = EditContext(runner, None, sites, (), moments, ledger)
    editor.prepare(context)
    guard = FittedGuard(NoGuard(), {s.parameter: ledger.original(s.parameter) for s in sites})
    return Engine(context, ledger, editor, guard)


def equations(made, site):
    return made.editor._equations[site.parameter]


@pytest.mark.parametrize("model", MODELS)
def test_the_projector_matches(model):
    h = hparams(model, "AlphaEdit")
    for layer in h["layers"]:
        moment = covariance(model, layer)
        space = NullSpace.below(moment, h["nullspace_threshold"])
        ours = torch.eye(len(moment), dtype=torch.float64) - space.excluded @ space.excluded.T
        values, vectors = torch.linalg.eigh(moment)
        small = vectors[:, values < h["nullspace_threshold"]]
        close(ours, small @ small.T, 1e-5)
        assert round(float(ours.trace())) == len(moment) - int(0.4 * len(moment))


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(("dtype", "tolerance"), [("fp64", 1e-11), ("fp32", 2e-5)])
def test_the_solve_matches(model, dtype, tolerance):
    values, _ = golden(model, dtype, "AlphaEdit")
    made = engine(model, "fp64")
    compared = 0
    for batch in (1, 2):
        for site in made.context.sites:
            prefix = f"b{batch}.l{site.layer}"
            if f"{prefix}.dW" not in values:
                continue
            keys, residual = values[f"{prefix}.K"].double(), values[f"{prefix}.R"].double()
            close(
                equations(made, site).solve_update(keys, residual).dense(),
                values[f"{prefix}.dW"],
                tolerance,
            )
            compared += 1
        made.editor.advance(
            {
                f"keys.{s.parameter}": values[f"b{batch}.l{s.layer}.K"].double()
                for s in made.context.sites
                if f"b{batch}.l{s.layer}.K" in values
            }
        )
    assert compared or dtype == "fp32"


@pytest.mark.parametrize("model", ["gpt2", "llama-bos"])
def test_the_solve_matches_on_zsre(model):
    values, _ = golden(model, "fp64", "AlphaEdit_zsre")
    made = engine(model, "fp64")
    for site in made.context.sites:
        prefix = f"b1.l{site.layer}"
        keys, residual = values[f"{prefix}.K"].double(), values[f"{prefix}.R"].double()
        update = equations(made, site).solve_update(keys, residual).dense()
        close(update, values[f"{prefix}.dW"], 1e-6)


def run_batch(made, rows):
    editor = made.editor

    def solve_batch(batch, context):
        settings = editor.target_settings(context.sites[-1].layer)
        z = solve_targets(context.runner, rows, settings).z
        return SolvedBatch(tuple(rows), tuple(range(len(rows))), z, {}, {}, 0.0)

    editor.solve_batch = solve_batch
    with made.ledger.transaction():
        outcome, applied, _ = made.drive(editor.edit((), made.context))
        editor.advance(outcome.increment)
    return applied


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(("dtype", "first"), [("fp64", 2e-5), ("fp32", 1e-3)])
def test_two_batches_match(model, dtype, first):
    values, _ = golden(model, dtype, "AlphaEdit")
    made = engine(model, dtype)
    for number, tolerance in ((1, first), (2, 2e-3)):
        before = {s.parameter: made.ledger.delta(s.parameter).clone() for s in made.context.sites}
        run_batch(made, token_rows(model, str(number - 1)))
        for site in made.context.sites:
            written = made.ledger.delta(site.parameter) - before[site.parameter]
            name = f"b{number}.l{site.layer}.dW"
            if name in values:
                close(written, values[name], 5 * tolerance)
    for site in made.context.sites:
        name = f"final.l{site.layer}.W"
        if name in values:
            close(made.ledger.weight(site.parameter), values[name], 2e-3)
