import errno
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from revive.errors import PrerequisiteError, SpecError
from revive.io import atomic
from revive.io.signed_json import unsigned
from revive.run_folder.store import RunFolder, load_tensors, save_tensors
from revive.runs.environment import environment

TENSORS = {"left|a": torch.arange(6.0).reshape(2, 3), "state": torch.tensor(3)}


def new(folder: Path) -> RunFolder:
    run = RunFolder.create(folder / "run")
    run.write_spec("model: lab\n")
    return run


def everything(folder: Path) -> dict[str, bytes]:
    found = {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    return {name: content for name, content in found.items() if name != ".lock"}


def test_a_folder_with_a_run_or_anything_else_is_refused(tmp_path: Path):
    run = new(tmp_path)
    with pytest.raises(SpecError, match=r"continue it with 'revive resume .*run'"):
        RunFolder.create(run.path)
    with pytest.raises(SpecError, match="is not empty; choose another --out"):
        RunFolder.create(tmp_path)
    with pytest.raises(SpecError, match="is a file"):
        RunFolder.create(run.spec)
    with pytest.raises(SpecError, match="cannot be made"):
        RunFolder.create(run.spec / "below")


def test_an_empty_folder_is_fine_even_with_a_dead_lock_in_it(tmp_path: Path):
    (tmp_path / ".lock").write_text("1\n")
    assert RunFolder.create(tmp_path).path == tmp_path


def test_only_run_folders_open(tmp_path: Path):
    with pytest.raises(SpecError, match="no such folder"):
        RunFolder.open(tmp_path / "none")
    with pytest.raises(SpecError, match="is no run folder"):
        RunFolder.open(tmp_path)
    (tmp_path / "spec.yaml").write_text("model: lab\n")
    with pytest.raises(SpecError, match=r"is no run folder \(it has no journal.jsonl\)"):
        RunFolder.open(tmp_path)
    assert RunFolder.open(new(tmp_path).path).spec.read_text() == "model: lab\n"


def test_two_writers_are_kept_apart(tmp_path: Path):
    run = new(tmp_path)
    assert not run.locked()
    with run.lock():
        assert run.locked()
        with (
            pytest.raises(SpecError, match=f"process {os.getpid()} is writing this run"),
            RunFolder.open(run.path).lock(),
        ):
            pass
    assert not run.locked()
    with run.lock():
        pass


def test_the_lock_of_a_killed_process_is_taken_over(tmp_path: Path):
    run = new(tmp_path)
    code = (
        "import sys, time\nfrom revive.run_folder.store import RunFolder\n"
        f"with RunFolder.open({str(run.path)!r}).lock():\n"
        "    print('held', flush=True)\n    time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    assert run.locked()
    with pytest.raises(SpecError, match=f"process {process.pid} is"), run.lock():
        pass
    process.kill()
    process.wait()
    process.stdout.close()
    assert (run.path / ".lock").read_text() == f"{process.pid}\n"
    with run.lock():
        assert run.locked()


def test_half_written_files_of_a_killed_process_are_cleared(tmp_path: Path):
    run = new(tmp_path)
    run.save_update(1, TENSORS)
    left = run.path / "updates" / ".000002.safetensors.99.partial"
    left.write_bytes(b"half")
    with run.lock():
        assert not left.exists()
        assert run.load_update(1).keys() == TENSORS.keys()


def test_updates_come_back_bit_for_bit(tmp_path: Path):
    run = new(tmp_path)
    run.save_update(12, TENSORS)
    assert (run.path / "updates" / "000012.safetensors").is_file()
    loaded = run.load_update(12)
    for name, tensor in TENSORS.items():
        torch.testing.assert_close(loaded[name], tensor, rtol=0, atol=0)


def test_views_and_shared_storage_are_stored(tmp_path: Path):
    base = torch.randn(4, 5)
    save_tensors(tmp_path / "x", {"a": base, "b": base.T, "c": base[1:, ::2], "d": base})
    loaded = load_tensors(tmp_path / "x")
    assert torch.equal(loaded["b"], base.T)
    assert torch.equal(loaded["c"], base[1:, ::2])


def test_missing_and_damaged_updates_say_what_to_do(tmp_path: Path):
    run = new(tmp_path)
    with pytest.raises(SpecError, match=r"000003\.safetensors: is missing; .* 'revive rollback"):
        run.load_update(3)
    run.save_update(3, TENSORS)
    path = run.path / "updates" / "000003.safetensors"
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(SpecError, match="is damaged"):
        run.load_update(3)


def test_checkpoints_are_pruned_to_the_newest_and_the_first(tmp_path: Path):
    run = new(tmp_path)
    for step in (0, 5, 10, 15):
        run.save_checkpoint(step, {"w": torch.tensor(float(step))})
    assert run.checkpoints() == [0, 10, 15]
    assert float(run.load_checkpoint(10)["w"]) == 10
    run.save_checkpoint(20, {"w": torch.tensor(0.0)}, keep=1)
    assert run.checkpoints() == [0, 20]


def test_what_a_rollback_leaves(tmp_path: Path):
    run = new(tmp_path)
    for step in (1, 2, 3, 4):
        run.save_update(step, TENSORS)
    for step in (2, 4):
        run.save_checkpoint(step, TENSORS)
    run.write_summary({"final": {}})
    run.drop_after(2)
    assert run.checkpoints() == [2]
    assert run.load_update(2)
    with pytest.raises(SpecError):
        run.load_update(3)
    assert not run.summary.exists()
    run.drop_checkpoints_from(2)
    assert run.checkpoints() == []


def test_summaries_hold_every_number(tmp_path: Path):
    run = new(tmp_path)
    run.write_summary({"final": {"perplexity": math.inf, "score": math.nan}, "curve": [{"x": 1}]})
    stored = json.loads(run.summary.read_text("utf-8"))
    assert unsigned(stored)[1]
    assert not unsigned({**stored, "curve": []})[1]
    assert {k: v for k, v in stored.items() if k in ("final", "curve")} == {
        "final": {"perplexity": "Infinity", "score": "NaN"},
        "curve": [{"x": 1}],
    }


def test_the_environment_is_stored_and_read(tmp_path: Path):
    run = new(tmp_path)
    assert run.read_env() == {}
    env = environment(model_fingerprint="abc", device="cpu", threads=2)
    run.write_env(env)
    assert run.read_env() == env
    assert env["model_fingerprint"] == "abc"
    assert env["versions"]["torch"] == torch.__version__.split("+")[0] or env["versions"]["torch"]
    assert str(Path.home()) not in run.env.read_text("utf-8")
    run.env.write_text("{")
    with pytest.raises(SpecError, match=r"env\.json: is damaged"):
        run.read_env()


@pytest.mark.parametrize(
    "failure",
    [OSError(errno.ENOSPC, "No space left on device"), OSError(errno.EDQUOT, "Quota exceeded")],
)
def test_a_full_disk_leaves_no_half_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: Exception
):
    run = new(tmp_path)
    run.save_checkpoint(1, TENSORS)
    run.save_update(1, TENSORS)
    before = everything(run.path)

    real = os.write

    def full(descriptor: int, data: bytes) -> int:
        real(descriptor, data[:7])
        raise failure

    monkeypatch.setattr(os, "write", full)
    for attempt in (
        lambda: run.save_update(1, TENSORS),
        lambda: run.save_update(2, TENSORS),
        lambda: run.save_checkpoint(2, TENSORS, keep=1),
    ):
        with pytest.raises(PrerequisiteError, match="no space left on the disk"):
            attempt()
        assert everything(run.path) == before


def test_a_disk_that_fills_at_the_flush_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    run = new(tmp_path)

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(PrerequisiteError):
        run.write_spec("model: other\n")
    assert everything(run.path) == {"spec.yaml": b"model: lab\n"}


def test_other_failures_keep_their_own_name_and_leave_nothing(tmp_path: Path):
    def interrupted() -> None:
        with atomic.replacing(tmp_path / "file") as partial:
            partial.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []
