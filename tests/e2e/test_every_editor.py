"""Every editor through a whole run, interrupted and resumed: to the bit as if undisturbed."""

import itertools
import shutil

import pytest
import torch
from e2e_runs import (
    SITES,
    batches,
    cut_after,
    edited_weights,
    revive,
    run_here,
    same_end,
    short_editor,
    write_spec_in,
)

from revive import registry
from revive.models.loading import load_model
from revive.options.editors import OPTIONS
from revive.runs.loop import resume

SETTINGS = {**short_editor(), "l2": 10.0, "threshold": 0.3}
OWN = {"ft": {"lr": 1e-3}, "ultraedit": {"lr": 1e-3}}
VARIANTS = {
    "memit-seq, forward and anchored": {"spread": "forward", "norm_anchor": True},
    "memit, anchored": {"norm_anchor": True},
    "ft, in minibatches": {"minibatch": 1, "end_token": True},
}
EDITORS = [*registry.names("editors"), *VARIANTS]


def settings(name):
    """What of the short settings an editor has."""
    editor = name.partition(",")[0]
    known = OPTIONS[editor].model_fields
    chosen = {**SETTINGS, **OWN.get(editor, {}), **VARIANTS.get(name, {}), "name": editor}
    return {k: v for k, v in chosen.items() if k in known or k == "name"}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, tiny_folder, corpus):
    """A run of five edits in three batches, and its spec; made once an editor."""
    made = {}

    def run(name):
        if name not in made:
            folder = tmp_path_factory.mktemp("run")
            spec = write_spec_in(folder, tiny_folder, corpus, edits=5, whole_editor=settings(name))
            run_here(spec, folder / "run")
            made[name] = (spec, folder / "run")
        return made[name]

    return run


@pytest.mark.parametrize("name", EDITORS)
def test_a_resumed_run_is_the_undisturbed_one(name, undisturbed, tmp_path):
    _, calm = undisturbed(name)
    # After the second batch of three: what an editor carries from batch to batch is at stake.
    for step in (1, 2):
        folder = shutil.copytree(calm, tmp_path / str(step) / "run")
        cut_after(folder, "batch", step)
        resume(folder)
        same_end(folder, calm)


@pytest.mark.parametrize("name", EDITORS)
def test_every_batch_changes_the_weights(name, undisturbed, tiny_folder):
    _, calm = undisturbed(name)
    before = load_model(str(tiny_folder), device="cpu").model
    after = [edited_weights(calm, to=step) for step in (1, 2, 3)]
    assert len(batches(calm)) == 3
    states = [{k: before.get_parameter(k).detach() for k in SITES}, *after]
    for earlier, later in itertools.pairwise(states):
        assert any(not torch.equal(earlier[k], later[k]) for k in SITES)
        assert all(bool(torch.isfinite(later[k]).all()) for k in SITES)


@pytest.mark.parametrize("name", ["alphaedit", "nse", "rome", "ft", "ultraedit"])
def test_the_command_makes_the_same_run(name, undisturbed, tmp_path):
    spec, calm = undisturbed(name)
    revive("run", spec, "--out", tmp_path / "run", "--quiet")
    same_end(tmp_path / "run", calm)
    cut_after(tmp_path / "run", "batch", 1)
    revive("resume", tmp_path / "run", "--quiet")
    same_end(tmp_path / "run", calm)
