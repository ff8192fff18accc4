"""Calibrating tau: the rule, and that a trial is what a guarded edit does."""

from dataclasses import dataclass

import pytest
from e2e_runs import equal_tensors
from hypothesis import given
from hypothesis import strategies as st

from revive.assembly.build import build, load_from_spec
from revive.assembly.calibrate_from_spec import scan_energy
from revive.calibration.energy import COST, ENERGIES, calibrate_energy, choose_energy
from revive.calibration.trials import CalibrationTrial
from revive.errors import NumericalError, SpecError
from revive.probes.edits import score_edits
from revive.spec.edit_stream import read_edits
from revive.spec.parsing import load_spec, read_model_config, resolve

SCORES = st.lists(st.floats(0, 1), min_size=len(ENERGIES), max_size=len(ENERGIES))


def trials(unguarded, scores):
    pairs = [(0.0, unguarded), *zip(ENERGIES, scores, strict=False)]
    return [CalibrationTrial(e, s, s, s, s, s) for e, s in pairs]


@given(st.floats(0, 1), SCORES)
def test_the_largest_tau_that_costs_little_is_chosen(unguarded, scores):
    chosen = choose_energy(trials(unguarded, scores))
    cheap = [e for e, s in zip(ENERGIES, scores, strict=True) if s >= unguarded - COST]
    assert chosen == (cheap[-1] if cheap else ENERGIES[0])


@pytest.fixture
def spec(write_spec):
    def read(guard, **editor):
        found = load_spec(write_spec(edits=6, editor={"ridge": 10.0, **editor}, guard=guard))
        return resolve(found, read_model_config(found.model.name))

    return read


def prepared(spec):
    batch = read_edits(spec).edits
    return build(spec, load_from_spec(spec.model), batch), batch


def test_an_unguarded_batch_without_a_score_decides_nothing():
    with pytest.raises(NumericalError, match=r"set guard\.energy"):
        choose_energy(trials(float("nan"), [0.5] * len(ENERGIES)))


@pytest.mark.parametrize(
    "how", [{}, {"when": "batch"}, {"solve": "constrained"}, {"basis": "current"}]
)
def test_a_trial_is_what_a_guarded_edit_does_and_leaves_no_trace(spec, how):
    guard = {"name": "revive", "energy": 0.3, **how}
    built, batch = prepared(spec(guard, steps=8))
    engine, tokenizer = built.engine, built.loaded.tokenizer
    before = {k: v.clone() for k, v in built.loaded.model.state_dict().items()}
    found = calibrate_energy(
        engine.editor,
        engine.guard.guard,
        engine.context,
        engine.ledger,
        tokenizer,
        batch,
        grid=(0.3, 0.9),
    )
    assert equal_tensors(built.loaded.model.state_dict(), before)
    assert [t.value for t in found.trials] == [0.0, 0.3, 0.9]
    assert len({t.score for t in found.trials}) > 1, "the guard must make a difference"
    engine.apply(batch)
    metrics = score_edits(built.loaded.model, tokenizer, batch).metrics()
    for key in ("score", "efficacy", "efficacy_exact", "paraphrase", "neighborhood"):
        assert getattr(found.trials[1], key) == metrics[key]


def test_a_spec_is_calibrated_whatever_tau_it_holds(spec):
    found = scan_energy(spec({"name": "revive", "energy": 0.5}))
    assert [t.value for t in found.trials] == [0.0, *ENERGIES]
    assert found.value == choose_energy(found.trials)
    assert scan_energy(spec({"name": "revive", "energy": 0.1})) == found


@dataclass(frozen=True)
class NoShare:
    """What a guard of another package may look like."""

    name: str = "no-share"


def test_a_guard_without_a_share_is_refused(spec):
    built, batch = prepared(spec("none"))
    engine = built.engine
    with pytest.raises(SpecError, match="no-share has no energy share"):
        calibrate_energy(engine.editor, NoShare(), engine.context, engine.ledger, None, batch)
