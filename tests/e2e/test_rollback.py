"""Undo: the last batches, or one edit; and what a resumed run makes of it."""

import json

import pytest
import torch
from e2e_runs import (
    SITES,
    as_older_version,
    batches,
    edited_weights,
    equal_tensors,
    journal,
    run_here,
    same_end,
    update_files,
)
from safetensors.torch import load_file, save_file

from revive.errors import SpecError
from revive.runs.loop import resume
from revive.runs.rollback import rollback_edit, rollback_to
from revive.runs.status import run_status


def update(folder, step):
    return load_file(folder / "updates" / f"{step:06d}.safetensors")


def column(folder, step, position, site):
    """What one edit wrote into one weight, fp64."""
    stored = update(folder, step)
    left, right = (stored[f"{side}|{site}"].double() for side in ("left", "right"))
    return torch.outer(left[:, position], right[position])


@pytest.mark.parametrize("step", [0, 3, 4])
def test_going_back_and_on_gives_the_same_run(run_folder, calm_run, step):
    undone = rollback_to(run_folder, step)
    assert undone.step == step
    assert list(undone.removed) == [f"home-{n}" for n in range(2 * step, 13)]
    assert undone.norm > 0
    assert equal_tensors(edited_weights(run_folder), edited_weights(calm_run, step))
    assert run_status(run_folder).state == "rolled back"
    resume(run_folder)
    same_end(run_folder, calm_run)
    assert run_status(run_folder).state == "finished"


def test_going_back_to_the_start_gives_the_model_as_it_was(run_folder, tiny_folder):
    rollback_to(run_folder, 0)
    stored = load_file(tiny_folder / "model.safetensors")
    assert equal_tensors(edited_weights(run_folder), {k: stored[k] for k in SITES})


def test_an_edit_is_taken_out_exactly(write_spec, tiny_folder, tmp_path):
    """In fp64, where rounding cannot hide a wrong column."""
    spec = write_spec(edits=6, model={"name": str(tiny_folder), "dtype": "float64"})
    folder = tmp_path / "run"
    run_here(spec, folder)
    files, before = update_files(folder), edited_weights(folder)
    undone = rollback_edit(folder, "home-3")
    after = edited_weights(folder)
    squares = 0.0
    for site in SITES:
        part = column(folder, 2, 1, site)
        squares += float(part.square().sum())
        difference = after[site] - before[site]
        assert difference.dtype == torch.float64
        assert torch.linalg.matrix_norm(difference + part) <= 1e-12 * part.norm()
    assert undone.norm == pytest.approx(squares**0.5)
    assert update_files(folder) == files
    event = journal(folder)[-1]
    assert (event["event"], event["edit"], event["batch"]) == ("rollback", "home-3", 2)


def test_a_removed_edit_stays_out_when_the_run_goes_on(run_folder, calm_run, tiny_folder):
    rollback_to(run_folder, 4)
    rollback_edit(run_folder, "home-2")
    resume(run_folder)
    stored = load_file(tiny_folder / "model.safetensors")
    rebuilt = edited_weights(run_folder)
    for site in SITES:
        total = stored[site].double() - column(run_folder, 2, 0, site)
        for step in range(1, 8):
            factors = update(run_folder, step)
            total += factors[f"left|{site}"].double() @ factors[f"right|{site}"].double()
        assert torch.linalg.matrix_norm(rebuilt[site] - total) <= 1e-6 * total.norm()
    # Later batches were computed on a model without it.
    assert batches(run_folder)[:4] == batches(calm_run)[:4]
    assert batches(run_folder)[4] != batches(calm_run)[4]
    # The checkpoints hold what the files and the journal say.
    for path in (run_folder / "checkpoints").iterdir():
        path.unlink()
    assert equal_tensors(edited_weights(run_folder), rebuilt)


def test_after_a_removal_the_run_measures_again(run_folder, calm_run):
    rollback_edit(run_folder, "home-12")
    assert run_status(run_folder).state == "rolled back"
    summary = resume(run_folder)
    calm = json.loads((calm_run / "summary.json").read_text("utf-8"))
    assert summary["final"]["weight_norm_ratio"] != calm["final"]["weight_norm_ratio"]
    assert run_status(run_folder).state == "finished"


def test_going_back_before_a_removed_edit_makes_it_again(run_folder, calm_run):
    rollback_edit(run_folder, "home-8")
    rollback_to(run_folder, 3)
    resume(run_folder)
    same_end(run_folder, calm_run)
    assert equal_tensors(edited_weights(run_folder), edited_weights(calm_run))


def test_checkpoints_that_a_kill_left_behind_are_not_used(run_folder, calm_run):
    names = {p.name for p in (run_folder / "checkpoints").iterdir()}
    assert names == {"000006.safetensors", "000007.safetensors"}
    rollback_to(run_folder, 3)
    # A kill between the journal's line and the clearing leaves files; wrong ones show their use.
    wrong = {k: torch.full((32, 48), 7.0) for k in SITES}
    for name in ("000004.safetensors", *names):
        save_file(wrong, run_folder / "checkpoints" / name)
    assert equal_tensors(edited_weights(run_folder), edited_weights(calm_run, 3))
    resume(run_folder)
    same_end(run_folder, calm_run)


def test_a_checkpoint_that_counts_is_used(run_folder, calm_run):
    """Negative control of the test above: where nothing is checked a wrong one does harm."""
    as_older_version(run_folder)
    save_file(
        {k: torch.full((32, 48), 7.0) for k in SITES}, run_folder / "checkpoints/000007.safetensors"
    )
    assert not equal_tensors(edited_weights(run_folder), edited_weights(calm_run))


def test_what_cannot_be_undone_is_refused(run_folder):
    with pytest.raises(SpecError, match="7 committed batches"):
        rollback_to(run_folder, 8)
    with pytest.raises(SpecError, match="no edit 'home-99'"):
        rollback_edit(run_folder, "home-99")
    rollback_edit(run_folder, "home-1")
    with pytest.raises(SpecError, match="no edit 'home-1'"):
        rollback_edit(run_folder, "home-1")
    lines = journal(run_folder)
    assert sum(e["event"] == "rollback" for e in lines) == 1
