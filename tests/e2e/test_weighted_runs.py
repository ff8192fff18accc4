"""Whole runs with prices on output directions, and with a tau for every site."""

import json

import pytest
import torch
import yaml
from e2e_runs import SITES, edited_weights, equal_tensors, run_here, write_spec_in
from safetensors.torch import load_file

from revive.calibration.energy import COST, choose_site_energy
from revive.calibration.trials import CalibrationTrial
from revive.errors import SpecError
from revive.linalg.least_squares.output_metric import OutputMetric
from revive.spec.parsing import load_spec

WEIGHED = [
    {"name": "revive", "solve": "weighted", "weigh": weigh, "power": 2.0}
    for weigh in ("singular", "inputs", "gradients")
]


def update_of(folder, step):
    stored = load_file(folder / f"updates/{step:06d}.safetensors")
    return {k: (stored[f"left|{k}"] @ stored[f"right|{k}"]).double() for k in SITES}


@pytest.fixture(scope="module")
def finished(tmp_path_factory, tiny_folder, corpus):
    made = {}

    def run(guard, **parts):
        key = json.dumps([guard, parts], sort_keys=True)
        if key not in made:
            folder = tmp_path_factory.mktemp("run")
            spec = write_spec_in(
                folder,
                tiny_folder,
                corpus,
                edits={"path": "lab", "limit": 4, "batch_size": 2},
                guard=guard,
                probes=[{"name": "spectrum"}],
                **parts,
            )
            run_here(spec, folder / "run")
            made[key] = folder / "run"
        return made[key]

    return run


def test_without_a_price_it_is_the_editor_itself(finished):
    free = finished({"name": "revive", "solve": "weighted", "power": 0.0})
    bare = finished("none")
    for key in SITES:
        torch.testing.assert_close(
            edited_weights(free)[key], edited_weights(bare)[key], rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize("guard", WEIGHED, ids=lambda g: g["weigh"])
def test_a_price_moves_the_first_update_off_the_dear_directions(finished, guard):
    """The first site's first update answers the same targets with and without a price."""
    key = SITES[0]
    dear, bare = update_of(finished(guard), 1)[key], update_of(finished("none"), 1)[key]
    if guard["weigh"] == "singular":
        metric = OutputMetric.of_weight(edited_weights(finished("none"), 0)[key], 2.0)
        top = metric.u[:, :3]
        share_dear = float((top.T @ dear).norm() / dear.norm())
        share_bare = float((top.T @ bare).norm() / bare.norm())
        assert share_dear < 0.9 * share_bare
    assert float((dear - bare).norm()) > 1e-3 * float(bare.norm())


def test_the_three_worths_differ(finished):
    updates = [update_of(finished(guard), 1)[SITES[0]] for guard in WEIGHED]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert float((updates[one] - updates[other]).norm()) > 1e-4 * float(updates[0].norm())


def test_every_site_gets_its_own_tau_and_the_run_keeps_it(finished):
    folder = finished({"name": "revive", "energy": "auto"}, editor={"steps": 8})
    energies = yaml.safe_load((folder / "spec.yaml").read_text("utf-8"))["guard"]["energy"]
    assert set(energies) == set(SITES)
    assert all(0 <= tau <= 0.3 for tau in energies.values())
    again = finished({"name": "revive", "energy": energies}, editor={"steps": 8})
    assert equal_tensors(edited_weights(again), edited_weights(folder))


def trial(value, efficacy, paraphrase, neighborhood):
    return CalibrationTrial(value, efficacy, efficacy, paraphrase, neighborhood, 0.0)


def test_the_rule_takes_the_largest_tau_that_costs_nothing():
    nan = float("nan")
    bare = trial(0.0, 0.9, 0.8, 0.7)
    free, dear = trial(0.1, 0.9 - COST / 2, 0.8, 0.75), trial(0.2, 0.9, 0.8 - 2 * COST, 0.9)
    assert choose_site_energy([bare, free, dear]) == 0.1
    assert choose_site_energy([bare, dear]) == 0.0
    assert choose_site_energy([bare, trial(0.3, 0.9, 0.9, 0.7 - 2 * COST), free]) == 0.1
    assert choose_site_energy([trial(0.0, 0.9, nan, nan), trial(0.3, 0.9, nan, nan)]) == 0.3


@pytest.mark.parametrize(
    ("guard", "word"),
    [
        ({"name": "revive", "solve": "weighted", "when": "batch"}, "layer loop"),
        ({"name": "revive", "solve": "weighted", "weigh": "size"}, "not one of"),
        ({"name": "norm-matched", "energy": "aut"}, "expected a number"),
    ],
)
def test_what_makes_no_sense_is_refused(write_spec, guard, word):
    with pytest.raises(SpecError, match=word):
        load_spec(write_spec(guard=guard))


def test_tau_cannot_be_calibrated_where_nothing_is_cut(write_spec, tmp_path):
    guard = {"name": "revive", "solve": "weighted", "energy": "auto"}
    with pytest.raises(SpecError, match="no energy to calibrate"):
        run_here(write_spec(guard=guard), tmp_path / "run")
