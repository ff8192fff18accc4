"""Whole runs of RECT and PRUNE, and under guards that are no projection or stand in a row."""

import itertools
import shutil

import pytest
import torch
from e2e_runs import (
    SITES,
    batches,
    cut_after,
    edited_weights,
    metrics,
    run_here,
    same_end,
    short_editor,
    write_spec_in,
)
from safetensors.torch import load_file

from revive.errors import SpecError
from revive.guards import Revive, Sphere
from revive.linalg.norm import spectral_norm
from revive.linalg.relative_mask import relative_mask
from revive.linalg.restraint import Restraint
from revive.runs.loop import resume
from revive.runs.rollback import rollback_edit, rollback_to
from revive.spec.parsing import load_spec

MEMIT = {"name": "memit"}
# So little regularised that updates outgrow the weights' singular values.
STRONG = {"ridge": 1e-3, "lr": 2.0, "clamp": 40.0, "steps": 8}
LOOSE = {"rtol": 2e-3, "atol": 1e-3}
RUNS = {
    "rect": ({"name": "rect"}, "none"),
    "rect-planned-dense": ({"name": "rect", "plan": "dense"}, "none"),
    "rect-under-revive": ({"name": "rect"}, "revive"),
    "memit": (MEMIT, "none"),
    "strong-memit": ({**MEMIT, **STRONG}, "none"),
    "prune": ({"name": "prune", **STRONG}, "none"),
    "prune-every-batch": ({"name": "prune", **STRONG, "restrain": "every-batch"}, "none"),
    "prune-upstream": ({"name": "prune", **STRONG, "application": "upstream"}, "none"),
    "prune-linear": ({"name": "prune", **STRONG, "function": "linear"}, "none"),
    "prune-under-revive": ({"name": "prune", **STRONG}, "revive"),
    "guard-rect": (MEMIT, "rect"),
    "guard-prune": ({**MEMIT, **STRONG}, {"name": "prune", "base": 2.5}),
    "guard-sphere": (MEMIT, {"name": "sphere", "alpha": 0.8}),
    "guard-sphere-hard": (MEMIT, {"name": "sphere", "kind": "hard"}),
    "guard-norm-cap": (MEMIT, {"name": "norm-cap", "update": 0.001, "total": 0.0015}),
    "row": ({"name": "memit-seq"}, ["revive", {"name": "norm-cap", "update": 0.001}]),
    "row-constrained": (
        {"name": "memit-seq"},
        [{"name": "sphere", "kind": "hard"}, {"name": "revive", "solve": "constrained"}],
    ),
    "row-mask-last": ({"name": "memit-seq"}, ["revive", "rect"]),
    "row-mask-first": ({"name": "memit-seq"}, ["rect", "revive"]),
    "row-late": (
        MEMIT,
        [{"name": "revive", "when": "batch"}, {"name": "norm-cap", "when": "batch"}],
    ),
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory, tiny_folder, corpus):
    """A run of six edits in three batches, made once. Not to be changed."""
    made = {}

    def run(name):
        if name not in made:
            folder = tmp_path_factory.mktemp(name)
            editor, guard = RUNS[name]
            spec = write_spec_in(
                folder,
                tiny_folder,
                corpus,
                edits={"path": "lab", "limit": 6, "batch_size": 2},
                whole_editor=short_editor(**editor),
                guard=guard,
                probes=[{"name": "spectrum"}],
            )
            run_here(spec, folder / "run")
            made[name] = folder / "run"
        return made[name]

    return run


def steps(folder):
    return [edited_weights(folder, step) for step in range(4)]


def moved(folder, key, step=None):
    return (edited_weights(folder, step)[key] - edited_weights(folder, 0)[key]).double()


@pytest.mark.parametrize("name", [n for n in RUNS if "memit" not in n])
def test_a_run_that_is_cut_short_ends_as_if_it_had_not_been(runs, name, tmp_path):
    calm = runs(name)
    folder = shutil.copytree(calm, tmp_path / "run")
    cut_after(folder, "batch", 1)
    resume(folder)
    same_end(folder, calm)


@pytest.mark.parametrize("name", ["prune", "prune-every-batch", "rect", "row"])
def test_batches_that_are_rolled_back_are_made_again_alike(runs, name, tmp_path):
    calm = runs(name)
    folder = shutil.copytree(calm, tmp_path / "run")
    rollback_to(folder, 1)
    resume(folder)
    for key in SITES:
        assert torch.equal(edited_weights(folder)[key], edited_weights(calm)[key])


# RECT


def test_rect_writes_two_fifths_of_the_entries(runs):
    for before, after in itertools.pairwise(steps(runs("rect"))):
        for key in SITES:
            share = float((after[key] != before[key]).double().mean())
            assert 0.35 < share <= 0.41
    # Negative control: MEMIT writes them all.
    first, second = steps(runs("memit"))[:2]
    assert float((second[SITES[0]] != first[SITES[0]]).double().mean()) > 0.95


def test_rect_writes_memit_s_first_update_masked_and_so_does_the_guard(runs):
    key = SITES[0]
    stored = load_file(runs("memit") / "updates/000001.safetensors")
    asked = stored[f"left|{key}"] @ stored[f"right|{key}"]
    weight = edited_weights(runs("memit"), 0)[key]
    expected = asked * relative_mask(asked, weight, 0.4)
    for name in ("rect", "guard-rect", "rect-planned-dense"):
        written = load_file(runs(name) / "updates/000001.safetensors")
        change = written[f"left|{key}"] @ written[f"right|{key}"]
        torch.testing.assert_close(change, expected, rtol=1e-4, atol=1e-7)
    for key in SITES:
        editor, guard = (moved(runs(n), key) for n in ("rect", "guard-rect"))
        torch.testing.assert_close(editor, guard, rtol=1e-3, atol=1e-6)


def test_later_layers_are_planned_on_what_is_written_unless_asked_otherwise(runs):
    asked = {n: batches(runs(n))[0]["sites"] for n in ("rect", "memit")}
    late, key = load_file(runs("rect-planned-dense") / "updates/000001.safetensors"), SITES[1]
    bare = load_file(runs("memit") / "updates/000001.safetensors")
    n = bare[f"left|{key}"].shape[1]
    # The first columns of the published order are MEMIT's own update of the last layer.
    dense = late[f"left|{key}"][:, :n] @ late[f"right|{key}"][:n]
    whole = bare[f"left|{key}"] @ bare[f"right|{key}"]
    torch.testing.assert_close(dense, whole, rtol=1e-4, atol=1e-7)
    assert asked["rect"][key]["asked"] != pytest.approx(asked["memit"][key]["asked"], rel=1e-3)


# PRUNE


def test_prune_restrains_what_memit_lets_grow(runs):
    for key in SITES:
        bound = spectral_norm(edited_weights(runs("prune"), 0)[key])
        grown = spectral_norm(moved(runs("strong-memit"), key))
        assert grown > 1.5 * bound
        values = torch.linalg.svdvals(moved(runs("strong-memit"), key))
        expected = Restraint(bound).values(values)
        found = torch.linalg.svdvals(moved(runs("prune"), key))
        torch.testing.assert_close(found[:2], expected[:2].sort(descending=True).values, **LOOSE)
        assert spectral_norm(moved(runs("prune-every-batch"), key)) < 0.9 * grown


@pytest.mark.parametrize("step", [1, 2, 3])
def test_after_every_batch_the_model_is_the_published_one_s_of_a_stream_that_ends_there(runs, step):
    """`restrain: once`: edits see the unrestrained model, so MEMIT's sum is what is restrained."""
    for key in SITES:
        bound = spectral_norm(edited_weights(runs("prune"), 0)[key])
        total = moved(runs("strong-memit"), key, step)
        u, s, vh = torch.linalg.svd(total, full_matrices=False)
        restrained = (u * Restraint(bound).values(s)) @ vh
        linear = (u * Restraint(bound, "linear").values(s)) @ vh
        like = {"rtol": 0, "atol": 2e-3 * float(total.abs().max())}
        torch.testing.assert_close(moved(runs("prune"), key, step), restrained, **like)
        torch.testing.assert_close(moved(runs("prune-linear"), key, step), linear, **like)
        upstream = moved(runs("prune-upstream"), key, step)
        torch.testing.assert_close(upstream, total + restrained, **like)
        assert float((restrained - total).norm()) > 0.1 * float(total.norm())


def test_restrained_values_are_counted_and_no_edit_can_be_taken_out(runs):
    lines = batches(runs("prune"))
    assert all(line["notes"]["restrained"] >= 1 for line in lines)
    with pytest.raises(SpecError, match="no sum of one part per edit"):
        rollback_edit(runs("prune"), lines[0]["made"][0])
    with pytest.raises(SpecError, match="no sum of one part per edit"):
        rollback_edit(runs("guard-rect"), batches(runs("guard-rect"))[0]["made"][0])


def test_under_revive_nothing_dominant_is_touched_by_what_is_lifted_and_restrained(runs):
    for name in ("prune-under-revive", "rect-under-revive"):
        for key in SITES:
            weight, change = edited_weights(runs(name), 0)[key], moved(runs(name), key)
            basis = Revive().protector(weight, key).basis
            for inside in (basis.u.T @ change, change @ basis.v):
                assert float(inside.norm()) < 1e-5 * float(change.norm())


def test_the_guard_prune_restrains_the_sum(runs):
    # Only the first update of the first site is proposed alike with and without the guard.
    key = SITES[0]
    bound = spectral_norm(edited_weights(runs("guard-prune"), 0)[key])
    asked = torch.linalg.svdvals(moved(runs("strong-memit"), key, 1))
    assert asked[0] > 1.5 * bound
    written = torch.linalg.svdvals(moved(runs("guard-prune"), key, 1))
    restrained = Restraint(bound, base=2.5).values(asked).sort(descending=True).values
    torch.testing.assert_close(written[:2], restrained[:2], **LOOSE)
    assert written[0] < 0.9 * asked[0]
    for line in batches(runs("guard-prune")):
        assert all(
            site["applied"] != pytest.approx(site["asked"]) for site in line["sites"].values()
        )


# SPHERE and the norm cap


def test_sphere_keeps_off_the_principal_inputs_by_its_strength(runs):
    # The first update proposed at the first site is the same with and without a guard.
    key = SITES[0]
    weight = edited_weights(runs("memit"), 0)[key]
    v = Sphere().protector(weight, key).basis.v
    bare, soft, hard = (
        moved(runs(n), key, 1) @ v for n in ("memit", "guard-sphere", "guard-sphere-hard")
    )
    torch.testing.assert_close(soft, 0.2 * bare, rtol=0, atol=1e-5 * float(bare.norm()))
    assert float(hard.norm()) < 1e-5 * float(bare.norm())
    assert float(bare.norm()) > 0.1 * float(moved(runs("memit"), key, 1).norm())
    for key in SITES:
        weight, change = (
            edited_weights(runs("memit"), 0)[key],
            moved(runs("guard-sphere-hard"), key),
        )
        v = Sphere().protector(weight, key).basis.v
        assert float((change @ v).norm()) < 1e-5 * float(change.norm())


def test_the_cap_holds_for_every_update_and_for_their_sum(runs):
    folder = runs("guard-norm-cap")
    first = edited_weights(folder, 0)
    for number, line in enumerate(batches(folder), 1):
        for key, site in line["sites"].items():
            norm = float(first[key].double().norm())
            assert site["applied"] <= 0.001 * norm * (1 + 1e-4)
            assert float(moved(folder, key, number).norm()) <= 0.0015 * norm * (1 + 1e-4)
            share = 1 - (site["applied"] / site["asked"]) ** 2
            assert site["removed"]["rest_rest"] == pytest.approx(share, abs=1e-4)
            assert site["removed"]["uk_vk"] == site["removed"]["uk_rest"] == 0.0
            bare = float(moved(runs("memit"), key, number).norm())
            assert bare > 0.0015 * norm


# Rows


def leak_of(folder, key):
    weight, change = edited_weights(folder, 0)[key], moved(folder, key)
    basis = Revive().protector(weight, key).basis
    inside = (basis.u.T @ change).norm() ** 2 + (change @ basis.v).norm() ** 2
    return float(inside) ** 0.5 / float(change.norm())


def test_a_row_keeps_the_promises_of_all_its_guards(runs):
    folder = runs("row")
    for line in batches(folder):
        for key, site in line["sites"].items():
            norm = float(edited_weights(folder, 0)[key].double().norm())
            assert site["applied"] <= 0.001 * norm * (1 + 1e-4)
            assert site["leak"] < 1e-8
            assert site["rank"] > 0
            # What REVIVE took, and what the cap took of the rest.
            assert site["removed"]["rest_vk"] > 0
            assert site["removed"]["rest_rest"] > 0
            total = sum(site["removed"].values())
            assert total == pytest.approx(1 - (site["applied"] / site["asked"]) ** 2, abs=1e-4)
    assert all(leak_of(folder, key) < 1e-4 for key in SITES)
    assert metrics(folder)["guard"] == "revive + norm-cap"
    stored = load_spec(folder / "spec.yaml").guard
    assert [g.name for g in (stored, *stored.then)] == ["revive", "norm-cap"]


def test_the_last_guard_has_the_last_word(runs):
    """A mask after REVIVE breaks its promise, and the journal says so."""
    for name, holds in (("row-mask-first", True), ("row-mask-last", False), ("row-late", True)):
        for key in SITES:
            assert (leak_of(runs(name), key) < 1e-4) == holds
            for line in batches(runs(name)):
                assert (line["sites"][key]["leak"] < 1e-8) == holds


def test_editors_solve_under_the_guard_of_a_row_that_asks_for_it(runs):
    """The first guard, SPHERE, has directions too, but not those of the constraint."""
    folder = runs("row-constrained")
    for key in SITES:
        assert leak_of(folder, key) < 1e-4
    for line in batches(folder):
        for site in line["sites"].values():
            # Only SPHERE had something to remove: the editor kept clear of REVIVE's.
            assert 1e-6 < sum(site["removed"].values()) < 1.0
            assert site["leak"] < 1e-8
    assert metrics(folder)["guard"] == "sphere + revive"


@pytest.mark.parametrize(
    ("guard", "word"),
    [
        (["revive", {"name": "revive", "energy": "auto"}], "first guard of a list"),
        (["revive", {"name": "norm-cap", "updates": 0.1}], "guard.1"),
        ([{"name": "sphere", "kind": "mild"}], "kind"),
        ([{"name": "rect", "keep": 0}], "keep"),
    ],
)
def test_lists_that_make_no_sense_are_refused(write_spec, guard, word):
    with pytest.raises(SpecError, match=word):
        load_spec(write_spec(guard=guard))


def test_energy_is_calibrated_for_the_first_guard_of_a_list(tmp_path, write_spec):
    guard = [{"name": "revive", "energy": "auto"}, {"name": "left-only", "energy": 0.05}]
    spec = write_spec(guard=guard, edits={"path": "lab", "limit": 2, "batch_size": 2}, probes=[])
    run_here(spec, tmp_path / "run")
    stored = load_spec(tmp_path / "run/spec.yaml").guard
    assert set(stored.energy) == set(SITES)
    assert stored.then[0].energy == 0.05
