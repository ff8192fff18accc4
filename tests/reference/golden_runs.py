"""Whole batches of the golden models through our engine, driven by the stored tokens."""

import torch
from goldens import covariance, hparams, load_runner, token_rows

from revive.editors.base import EditContext
from revive.editors.target_editor import SolvedBatch
from revive.editors.target_solver.targets import solve_targets
from revive.engine.engine import Engine
from revive.guards import FittedGuard, NoGuard
from revive.models.ledger import Ledger


class FixedMoment:
    """A second moment that is known."""

    def __init__(self, value):
        self._value = value

    def value(self):
        return self._value


def golden_options(options, h, **settings):
    """An editor's options with the golden run's hyper-parameters."""
    return options(
        layers=h["layers"],
        steps=h["v_num_grad_steps"],
        lr=h["v_lr"],
        weight_decay=h["v_weight_decay"],
        kl_factor=h["kl_factor"],
        clamp=h["clamp_norm_factor"],
        ridge=float(h["mom2_update_weight"]),
        **settings,
    )


def golden_engine(editor_class, model, dtype, overrides=None, **settings):
    """An engine over a golden model, its editor prepared."""
    h = {**hparams(model), **(overrides or {})}
    runner = load_runner(model, torch.float64 if dtype == "fp64" else torch.float32)
    sites = runner.family.sites(runner.model, layers=h["layers"])
    ledger = Ledger(runner.model, sites)
    moments = {s.parameter: FixedMoment(covariance(model, s.layer)) for s in sites}
    context = EditContext(runner, None, sites, (), moments, ledger)
    options = golden_options(editor_class.options_model, h, **settings)
    editor = editor_class(options)
    editor.prepare(context)
    originals = {s.parameter: ledger.original(s.parameter) for s in sites}
    return Engine(context, ledger, editor, FittedGuard(NoGuard(), originals))


def apply_golden_batch(engine, model, number):
    """One batch, from stored tokens to written weights.

    Only tokenising differs from `Engine.apply`: the editor's own `edit` runs, its rows are stored.
    """
    editor = engine.editor
    rows = tuple(token_rows(model, str(number - 1)))

    def solve_batch(batch, context):
        settings = editor.target_settings(context.sites[-1].layer)
        targets = solve_targets(context.runner, rows, settings)
        return SolvedBatch(rows, tuple(range(len(rows))), targets.z, {}, {}, 0.0)

    editor.solve_batch = solve_batch
    with engine.ledger.transaction():
        outcome, applied, _ = engine.drive(editor.edit((), engine.context))
        editor.advance({k: v.contiguous() for k, v in outcome.increment.items()})
    return outcome, applied
