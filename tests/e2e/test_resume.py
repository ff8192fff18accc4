"""What kills leave between two writes, and how a run goes on from there."""

import json
import shutil

import pytest
from e2e_runs import cut_after, journal, metrics, rewrite_journal, run_here, same_end

from revive.errors import SpecError
from revive.runs.loop import resume
from revive.runs.status import run_status


@pytest.mark.parametrize(
    ("kind", "step"),
    [("start", 0), ("measure", 0), ("batch", 1), ("batch", 3), ("measure", 6), ("measure", 7)],
)
def test_a_run_goes_on_from_every_line(run_folder, calm_run, kind, step):
    cut_after(run_folder, kind, step)
    resume(run_folder)
    same_end(run_folder, calm_run)


@pytest.mark.parametrize("step", [6, 7])
def test_a_checkpoint_that_a_kill_prevented_is_made_up_for(run_folder, calm_run, step):
    cut_after(run_folder, "measure", step)
    (run_folder / "checkpoints" / f"{step:06d}.safetensors").unlink()
    resume(run_folder)
    same_end(run_folder, calm_run)


def test_what_an_earlier_process_held_is_not_forgotten(run_folder):
    cut_after(run_folder, "checkpoint", 6)
    *before, kept = journal(run_folder)
    rewrite_journal(run_folder, [*before, {**kept, "peak_memory_bytes": 7 << 50}])
    resume(run_folder)
    last = journal(run_folder)[-1]
    assert last["event"] == "finish"
    assert 0 < last["peak_memory_bytes"] < 7 << 50
    summary = json.loads((run_folder / "summary.json").read_text("utf-8"))
    assert summary["peak_memory_bytes"] == 7 << 50
    assert "peak_gpu_memory_bytes" not in summary, "none was used"


def test_an_update_without_its_line_is_made_again(run_folder, calm_run):
    kept = (run_folder / "updates/000004.safetensors").read_bytes()
    cut_after(run_folder, "measure", 3)
    (run_folder / "updates/000004.safetensors").write_bytes(kept[:100])
    resume(run_folder)
    same_end(run_folder, calm_run)


def test_a_finished_run_returns_its_summary(run_folder, calm_run):
    (run_folder / "summary.json").unlink()
    before = journal(run_folder)
    summary = resume(run_folder)
    assert summary["final"] == metrics(calm_run)["final"]
    assert metrics(run_folder) == metrics(calm_run)
    assert journal(run_folder) == before
    assert run_status(run_folder).state == "finished"


def test_a_folder_with_a_half_written_spec_can_be_used(write_spec, tmp_path, calm_run):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / ".lock").write_text("4711\n", "utf-8")
    (folder / ".spec.yaml.4711.partial").write_text("model:", "utf-8")
    run_here(write_spec(), folder)
    same_end(folder, calm_run)
    assert not list(folder.glob(".*.partial"))


def test_other_edits_are_not_continued_with(write_spec, tmp_path, calm_run):
    folder = shutil.copytree(calm_run, tmp_path / "run")
    cut_after(folder, "batch", 2)
    spec = (folder / "spec.yaml").read_text("utf-8")
    write_spec(edits=12)
    old = str(calm_run.parent / "edits.jsonl")
    assert old in spec
    (folder / "spec.yaml").write_text(spec.replace(old, str(tmp_path / "edits.jsonl")), "utf-8")
    before = journal(folder)
    with pytest.raises(SpecError, match="edit file has changed"):
        resume(folder)
    assert journal(folder) == before
