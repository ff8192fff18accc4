"""Whole runs under every guard: what the law says of the weights holds at the end of them."""

import itertools

import pytest
import torch
from e2e_runs import SITES, batches, edited_weights, run_here, write_spec_in
from safetensors.torch import load_file

from revive.assembly.build import make_guard
from revive.linalg.basis import SpectralBasis
from revive.linalg.lowrank import LowRank
from revive.spec.schema import GuardSpec

BOTH, LEFT, RIGHT = ("left", "right"), ("left",), ("right",)
GUARDS = {
    "revive": ({"name": "revive"}, BOTH),
    "at-the-end-of-a-batch": ({"name": "revive", "when": "batch"}, BOTH),
    "constrained": ({"name": "revive", "solve": "constrained"}, BOTH),
    "current": ({"name": "revive", "basis": "current"}, BOTH),
    "current-constrained": ({"name": "revive", "basis": "current", "solve": "constrained"}, BOTH),
    "left-only": ({"name": "left-only"}, LEFT),
    "right-only": ({"name": "right-only"}, RIGHT),
    "random-subspace": ({"name": "random-subspace", "seed": 3}, BOTH),
    "bottom-subspace": ({"name": "bottom-subspace"}, BOTH),
    "norm-matched": ({"name": "norm-matched"}, ()),
    "none": ({"name": "none"}, ()),
}
ENERGY = 0.2
# What fp32 leaves of a zero, as a share of the weight it was written into.
ROUNDING = 1e-6


@pytest.fixture(scope="module")
def runs(tmp_path_factory, tiny_folder, corpus):
    """A run of four edits of the lab's stream, in two batches, under a guard; made once."""
    made = {}

    def run(name):
        if name not in made:
            folder = tmp_path_factory.mktemp(name)
            guard = {"energy": ENERGY, **GUARDS[name][0]}
            spec = write_spec_in(
                folder,
                tiny_folder,
                corpus,
                edits={"path": "lab", "limit": 4, "batch_size": 2},
                guard=guard,
                probes=[{"name": "spectrum"}],
            )
            run_here(spec, folder / "run")
            made[name] = folder / "run"
        return made[name]

    return run


def directions(name, weight, key):
    """The directions a guard of this name protects in a weight; REVIVE's if it protects none."""
    settings = {"energy": ENERGY, **GUARDS[name][0]}
    basis = make_guard(GuardSpec(**settings)).protector(weight, key).basis
    return basis or SpectralBasis.fit(weight, energy=ENERGY)


def touched(basis, change):
    """Norms of U^T dW and of dW V."""
    return {
        "left": float((basis.u.T @ change).norm()),
        "right": float((change @ basis.v).norm()),
    }


@pytest.mark.parametrize("name", GUARDS)
def test_nothing_touches_what_a_guard_protects(runs, name):
    folder = runs(name)
    weights = [edited_weights(folder, step) for step in (0, 1, 2)]
    follows = GUARDS[name][0].get("basis") == "current"
    for before, after in itertools.pairwise(weights):
        for key in SITES:
            basis = directions(name, before[key] if follows else weights[0][key], key)
            assert basis.rank > 0
            change = (after[key] - before[key]).double()
            for side, norm in touched(basis, change).items():
                if side in GUARDS[name][1]:
                    assert norm <= ROUNDING * float(after[key].norm())
                else:
                    # Negative control: where nothing protects, something is touched.
                    assert norm >= 1e-2 * float(change.norm())


@pytest.mark.parametrize("name", ["revive", "at-the-end-of-a-batch", "constrained"])
def test_the_dominant_part_of_the_weight_is_the_original_one(runs, name):
    folder = runs(name)
    first, last = edited_weights(folder, 0), edited_weights(folder)
    bare = edited_weights(runs("none"))
    for key in SITES:
        basis = directions(name, first[key], key)
        for weight, holds in ((last[key], True), (bare[key], False)):
            right = (weight - first[key]).double() @ basis.v
            left = basis.u.T @ (weight - first[key]).double()
            worst = max(float(right.abs().max()), float(left.abs().max()))
            assert (worst <= 1e-4) == holds
        # They are singular directions still, with the values they had.
        off = last[key].double() @ basis.v - basis.u * basis.s[: basis.rank]
        assert float(off.abs().max()) <= 1e-5 * float(basis.s[0])


def test_constrained_targets_make_up_for_what_is_forbidden(runs):
    """Solved under the constraint, nothing is left for the filter to remove."""
    for site in batches(runs("constrained"))[0]["sites"].values():
        assert sum(site["removed"].values()) < 1e-8
    for site in batches(runs("revive"))[0]["sites"].values():
        assert sum(site["removed"].values()) > 1e-3


def test_norms_are_matched_to_what_revive_would_leave(runs):
    """The first update proposed is the same with and without a guard."""
    folder, key = runs("norm-matched"), SITES[0]
    stored = load_file(runs("none") / "updates/000001.safetensors")
    asked = LowRank(stored[f"left|{key}"], stored[f"right|{key}"])
    basis = SpectralBasis.fit(edited_weights(folder, 0)[key], energy=ENERGY)
    site = batches(folder)[0]["sites"][key]
    assert site["asked"] == pytest.approx(asked.fro(), rel=1e-6)
    assert site["applied"] == pytest.approx(basis.project_out(asked).fro(), rel=1e-5)
    assert site["applied"] < site["asked"] * 0.999
    written = load_file(folder / "updates/000001.safetensors")
    change = written[f"left|{key}"] @ written[f"right|{key}"]
    cosine = torch.nn.functional.cosine_similarity(change.flatten(), asked.dense().flatten(), 0)
    assert float(cosine) == pytest.approx(1, abs=1e-5)


def test_one_filter_at_the_end_asks_as_if_there_were_no_guard(runs):
    """`when: batch` lets all layers see unfiltered updates; `when: layer` does not."""
    late, bare, early = (
        [s["asked"] for s in batches(runs(n))[0]["sites"].values()]
        for n in ("at-the-end-of-a-batch", "none", "revive")
    )
    assert late == pytest.approx(bare, rel=1e-6)
    assert early[0] == pytest.approx(bare[0], rel=1e-6)
    assert early[1] != pytest.approx(bare[1], rel=1e-4)
