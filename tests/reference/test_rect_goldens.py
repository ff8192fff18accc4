"""RECT: masks, thresholds and weights of the reference, two sequential batches."""

import pytest
import torch
from golden_runs import apply_golden_batch, golden_engine
from golden_weights import weights
from goldens import MODELS, close, covariance, golden, hparams

from revive.editors.rect import Rect
from revive.guards import Rect as RectGuard
from revive.linalg.least_squares.normal_equations import NormalEquations
from revive.linalg.relative_mask import relative_mask

STORED = MODELS[:3]  # stories260K has no RECT


@pytest.mark.parametrize("model", STORED)
def test_masks_and_thresholds_match(model):
    values, report = golden(model, "fp64", "MEMIT_rect")
    current = weights(model)
    for batch in (1, 2):
        for layer, weight in current.items():
            name = f"b{batch}.l{layer}"
            ridge = hparams(model)["mom2_update_weight"]
            equations = NormalEquations(covariance(model, layer), ridge)
            update = equations.solve_update(values[f"{name}.K"], values[f"{name}.R"]).dense()
            close(update, values[f"{name}.dW"], 1e-6)
            mask = relative_mask(update, weight, 0.4)
            assert torch.equal(mask, values[f"{name}.mask"].bool())
            relative = (update / (weight + 1e-8)).abs()
            assert float(relative[mask].min()) == pytest.approx(report[f"{name}.threshold"])
            # Negative control: another share, or another weight, is another mask.
            assert not torch.equal(relative_mask(update, weight, 0.39), mask)
            assert not torch.equal(relative_mask(update, weight.flip(0), 0.4), mask)
            guarded = RectGuard().protector(weight, "site").filter_dense(update)
            assert torch.equal(guarded, update * mask)
            current[layer] = weight + update * mask


# Stored updates are rounded to fp32, and GPT-J's reference works in fp32 in places.
@pytest.mark.parametrize(("dtype", "tolerance"), [("fp64", 5e-6), ("fp32", 5e-5)])
@pytest.mark.parametrize("model", STORED)
def test_the_published_order_gives_the_reference_s_weights(model, dtype, tolerance):
    """`plan: dense`: upper layers are planned on unmasked updates, the mask comes at the end."""
    engine = golden_engine(Rect, model, dtype, plan="dense")
    wrong = golden_engine(Rect, model, dtype)
    values, _ = golden(model, "fp32", "MEMIT_rect")
    steps = golden(model, "fp64", "MEMIT_rect")[0]
    expected = dict(weights(model))
    for batch in (1, 2):
        apply_golden_batch(engine, model, batch)
        apply_golden_batch(wrong, model, batch)
        for site in engine.context.sites:
            name = f"b{batch}.l{site.layer}"
            expected[site.layer] = expected[site.layer] + (
                steps[f"{name}.dW"].double() * steps[f"{name}.mask"]
            )
    for site in engine.context.sites:
        key = site.parameter
        change = engine.ledger.delta(key)
        want = expected[site.layer] - weights(model)[site.layer]
        close(change, want, tolerance)
        close(engine.ledger.weight(key), values[f"final.l{site.layer}.W"], 5e-5)
    # Negative control: with layers planned on what is written, the upper layer differs.
    last = engine.context.sites[-1].parameter
    gap = float((wrong.ledger.delta(last) - engine.ledger.delta(last)).norm())
    assert gap > 0.05 * float(engine.ledger.delta(last).norm())
