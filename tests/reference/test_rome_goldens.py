"""ROME's one edit on four models, through the editor itself, from the stored tokens."""

import pytest
import torch
from golden_runs import FixedMoment
from goldens import MODELS, close, covariance, golden, hparams, load_runner, token_rows

from revive.editors.base import EditContext
from revive.editors.key_sweep import KeySweep
from revive.editors.rome import Rome, _outputs
from revive.editors.target_editor import SolvedBatch
from revive.editors.target_solver.targets import solve_targets
from revive.engine.engine import Engine
from revive.guards import FittedGuard, NoGuard
from revive.models.ledger import Ledger
from revive.options.editors import RomeOptions

Z_TOLERANCE = {"gpt2": 1e-9, "gptj": 1e-5, "llama-bos": 1e-9, "stories260K-llama": 1e-9}


def engine(model, dtype=torch.float64, rows="rome", **settings):
    h = hparams(model, "ROME")
    runner = load_runner(model, dtype)
    sites = runner.family.sites(runner.model, layers=h["layers"])
    ledger = Ledger(runner.model, sites)
    moments = {s.parameter: FixedMoment(covariance(model, s.layer)) for s in sites}
    options = RomeOptions(
        layers=h["layers"],
        steps=h["v_num_grad_steps"],
        lr=h["v_lr"],
        weight_decay=h["v_weight_decay"],
        kl_factor=h["kl_factor"],
        clamp=h["clamp_norm_factor"],
        mom2_adjustment=h["mom2_adjustment"],
        **settings,
    )
    editor = Rome(options)
    context = EditContext(runner, None, sites, (), moments, ledger)
    editor.prepare(context)
    chosen = token_rows(model, rows)

    def solve_batch(batch, context):
        found = solve_targets(
            context.runner,
            chosen,
            editor.target_settings(context.sites[-1].layer),
            measured_by=editor.measure(chosen, context),
        )
        return SolvedBatch(tuple(chosen), tuple(range(len(chosen))), found.z, {}, {}, 0.0)

    editor.solve_batch = solve_batch
    guard = FittedGuard(NoGuard(), {s.parameter: ledger.original(s.parameter) for s in sites})
    return Engine(context, ledger, editor, guard), chosen


def outputs_at(made, rows):
    sweep = KeySweep(made.context.runner, rows, made.context.sites[-1].layer)
    plain, contexts, count = sweep.parts(made.context.sites[-1])
    return plain.double(), (plain.double() + count * contexts) / (count + 1)


@pytest.mark.parametrize("model", MODELS)
def test_one_edit_matches(model):
    values, _ = golden(model, "fp64", "ROME")
    made, rows = engine(model, key="upstream")
    site, tolerance = made.context.sites[-1], Z_TOLERANCE[model]
    plain, mean = outputs_at(made, rows)
    close(plain[:, 0], values["k_plain"], tolerance)
    close(_outputs(made.context, site, plain)[:, 0], values["cur_output"], tolerance)
    adjusted = made.editor._inverse
    across = mean if adjusted is None else adjusted.solve(mean)
    close(across[:, 0] / across[:, 0].norm(), values["u"], 1e-5)
    with made.ledger.transaction():
        made.drive(made.editor.edit((), made.context))
    expected = torch.outer(values["v"].double(), values["u"].double())
    close(made.ledger.delta(site.parameter), expected, 1e-5)
    close(made.ledger.weight(site.parameter), values["W_final"], 1e-5)


@pytest.mark.parametrize("model", MODELS)
def test_the_target_matches(model):
    values, _ = golden(model, "fp64", "ROME")
    made, rows = engine(model)
    site = made.context.sites[-1]
    sweep = KeySweep(made.context.runner, rows, site.layer)
    shift = made.editor.solve_batch((), made.context).z.T - sweep.outputs(site.layer)
    close(shift[:, 0], values["delta_final.0"], 10 * Z_TOLERANCE[model])
    plain, _ = outputs_at(made, rows)
    target = _outputs(made.context, site, plain) + shift
    close(target[:, 0], values["v_target"], 10 * Z_TOLERANCE[model])


@pytest.mark.parametrize("key", ["averaged", "upstream"])
def test_which_key_gets_the_value(key):
    """R-ROME writes v* at the averaged key, the authors' code at the plain prompt's."""
    made, rows = engine("gpt2", key=key)
    site = made.context.sites[-1]
    plain, mean = outputs_at(made, rows)
    sweep = KeySweep(made.context.runner, rows, site.layer)
    shift = made.editor.solve_batch((), made.context).z.T - sweep.outputs(site.layer)
    with made.ledger.transaction():
        made.drive(made.editor.edit((), made.context))
    change = made.ledger.delta(site.parameter).double()
    at = {"averaged": mean, "upstream": plain}
    other = plain if key == "averaged" else mean
    close(change @ at[key], shift, 1e-9)
    assert float((change @ other - shift).norm() / shift.norm()) > 1e-3


def test_later_edits_of_a_batch_see_earlier_ones():
    made, rows = engine("gpt2", rows="0")
    site = made.context.sites[-1]
    _, mean = outputs_at(made, rows)
    sweep = KeySweep(made.context.runner, rows, site.layer)
    shift = made.editor.solve_batch((), made.context).z.T - sweep.outputs(site.layer)
    with made.ledger.transaction():
        made.drive(made.editor.edit((), made.context))
    change = made.ledger.delta(site.parameter).double()
    # The last edit has its shift, whatever the ones before it did at its key.
    close((change @ mean)[:, -1], shift[:, -1], 1e-6)
    alone = torch.outer(shift[:, -1], made.editor._inverse.solve(mean)[:, -1])
    alone = alone / (mean[:, -1] @ made.editor._inverse.solve(mean)[:, -1])
    assert float((change - alone).norm() / alone.norm()) > 0.1
