"""Calibrating lambda: the rule, and that it leaves the model as it was."""

import math

import pytest
from e2e_runs import equal_tensors
from hypothesis import given
from hypothesis import strategies as st

from revive.editors.options import RIDGES as GRID
from revive.errors import NumericalError
from revive.probes.edits import score_edits
from revive.runs.build import build, load_from_spec
from revive.runs.calibrate import TIE, calibrate_strength, choose
from revive.runs.identity import read_edits
from revive.runs.scan import scan_strength
from revive.runs.spec import load_spec, read_model_config, resolve
from revive.runs.trials import Trial

SCORES = st.lists(st.floats(0, 1), min_size=1, max_size=len(GRID))


def trials(scores):
    return [Trial(r, s, s, s, s, s) for r, s in zip(GRID, scores, strict=False)]


@given(SCORES)
def test_the_largest_lambda_among_the_best_is_chosen(scores):
    chosen = choose(trials(scores))
    best = max(scores)
    by_ridge = dict(zip(GRID, scores, strict=False))
    assert by_ridge[chosen] >= best - TIE
    assert all(score < best - TIE for ridge, score in by_ridge.items() if ridge > chosen)


def test_the_tie_is_as_wide_as_it_says():
    assert choose(trials([0.5, 0.9, 0.8951, 0.2])) == GRID[2]
    assert choose(trials([0.5, 0.9, 0.8949, 0.2])) == GRID[1]
    assert choose(trials([0.9, 0.9, 0.9])) == GRID[2]


def test_a_trial_without_a_score_is_never_chosen():
    for place in range(3):
        scores = [0.5, 0.6, 0.1]
        scores.insert(place, math.nan)
        assert choose(trials(scores)) == GRID[scores.index(0.6)]
    with pytest.raises(NumericalError, match="no value of the grid"):
        choose(trials([math.nan, math.nan]))


@pytest.fixture
def spec(write_spec):
    def read(**editor):
        found = load_spec(write_spec(edits=6, editor=editor, guard="none"))
        return resolve(found, read_model_config(found.model.name))

    return read


def prepared(spec):
    batch = read_edits(spec).edits
    return build(spec, load_from_spec(spec.model), batch), batch


def state(built):
    return {k: v.clone() for k, v in built.loaded.model.state_dict().items()}


def test_a_calibration_leaves_the_model_as_it_was(spec):
    built, batch = prepared(spec(steps=8))
    engine, grid = built.engine, (1.0, 1e4, 1e8)
    before = state(built)
    steps = []
    found = calibrate_strength(
        engine.editor,
        engine.context,
        engine.ledger,
        built.loaded.tokenizer,
        batch,
        grid=grid,
        progress=lambda done, total: steps.append((done, total)),
    )
    assert equal_tensors(state(built), before)
    assert all(not engine.ledger.delta(key).any() for key in engine.ledger.sites)
    assert steps == [(1, 3), (2, 3), (3, 3)]
    assert [t.value for t in found.trials] == list(grid)
    assert len({t.score for t in found.trials}) > 1, "the grid must make a difference"
    assert found.value == choose(found.trials)
    # Afterwards the engine does what one does that was never calibrated.
    fresh, _ = prepared(spec(steps=8))
    tensors = fresh.engine.apply(batch).tensors()
    assert equal_tensors(engine.apply(batch).tensors(), tensors)


@pytest.mark.parametrize("ridge", [1.0, 1e4])
def test_a_trial_is_what_an_edit_with_that_lambda_does(spec, ridge):
    built, batch = prepared(spec(ridge=ridge))
    engine, tokenizer = built.engine, built.loaded.tokenizer
    found = calibrate_strength(
        engine.editor, engine.context, engine.ledger, tokenizer, batch, grid=(ridge,)
    )
    (trial,) = found.trials
    engine.apply(batch)
    metrics = score_edits(built.loaded.model, tokenizer, batch).metrics()
    for key in ("score", "efficacy", "efficacy_exact", "paraphrase", "neighborhood"):
        assert getattr(trial, key) == metrics[key]


def test_a_spec_without_lambda_is_calibrated(spec):
    with_lambda = spec()
    found = scan_strength(with_lambda)
    assert [t.value for t in found.trials] == list(GRID)
    assert found.value == choose(found.trials)
    # The stream's first batch decides, whatever lambda the spec holds.
    assert scan_strength(spec(ridge=3.0)) == found
