"""Several processes share a pass over text: the sums of one, to the bit; nobody is left waiting."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from team_pass import SAVE_EVERY, one_pass

from revive.errors import PrerequisiteError, SpecError
from revive.moments import second_moment_pass
from revive.moments.torchrun import Launch, launch, own_device

SCRIPT = Path(__file__).with_name("team_pass.py")
PATIENCE = 120  # seconds; whoever hangs would wait for a week


@pytest.fixture(autouse=True)
def settings(monkeypatch):
    monkeypatch.setattr(second_moment_pass, "_LARGEST", SAVE_EVERY)
    monkeypatch.setattr(second_moment_pass, "_TOKENS_PER_SAVE", 1)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The file of one process, and the batches that it told of."""
    torch.set_num_threads(1)
    cache = tmp_path_factory.mktemp("alone")
    _, told = one_pass(cache)
    assert len(told) > 6 * SAVE_EVERY
    return file_in(cache), told


def file_in(cache):
    (path,) = cache.glob("*.safetensors")
    return path


def environment(**more):
    path = os.pathsep.join([str(SCRIPT.parent), *sys.path])
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", **more}


def torchrun(processes, tmp_path, *parts):
    """What became of every part, by process."""
    results = tmp_path / "results"
    results.mkdir()
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(processes)]
    done = subprocess.run(
        [*command, str(SCRIPT), str(tmp_path), str(results), *parts],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env=environment(),
    )
    assert done.returncode == 0, done.stderr
    return [json.loads((results / f"{i}.json").read_text("utf-8")) for i in range(processes)]


def test_two_processes_give_the_sums_of_one_and_tell_each_other_of_failures(alone, tmp_path):
    path, told = alone
    first, second = torchrun(2, tmp_path, "whole", "failing", "other text")
    shared = file_in(tmp_path / "whole")
    assert shared.name == path.name
    assert shared.read_bytes() == path.read_bytes()
    # Each has done its half; the first one alone has the results.
    assert first["whole"]["moments"] == 2
    assert second["whole"]["moments"] == 0
    assert len(first["whole"]["told"]) + len(second["whole"]["told"]) == len(told)
    assert first["whole"]["told"][-1] == told[-1]

    assert "process 1 of 2: a key for the second moment holds NaN" in first["failing"]["error"]
    assert "process" not in second["failing"]["error"]
    assert first["failing"]["code"] == second["failing"]["code"] == 4
    assert not list((tmp_path / "failing").glob("*"))

    for became in (first, second):
        assert "are not the same in all processes" in became["other text"]["error"]


def test_bits_could_tell_another_order_of_adding(alone, tmp_path, monkeypatch):
    """Negative control: the sum over all batches in one go is another file."""
    path, _ = alone
    monkeypatch.setattr(second_moment_pass, "_CHUNKS", 1)
    monkeypatch.setattr(second_moment_pass, "_LARGEST", 10_000)
    monkeypatch.setattr("team_pass.SAVE_EVERY", 10_000)
    whole, _ = one_pass(tmp_path / "whole")
    assert file_in(tmp_path / "whole").read_bytes() != path.read_bytes()
    # The sums themselves agree, as far as float64 goes.
    chunked, _ = one_pass(path.parent)
    for key, moment in whole.items():
        assert moment.count == chunked[key].count
        torch.testing.assert_close(moment.value(), chunked[key].value(), rtol=1e-12, atol=1e-15)


def interrupted(cache, at):
    """A pass of one process that ends in the middle."""

    def before(done, _total):
        if done == at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        one_pass(cache, before=before)


def test_three_processes_go_on_where_one_was_interrupted(alone, tmp_path):
    path, told = alone
    at = 3 * SAVE_EVERY + 2
    interrupted(tmp_path / "whole", at)
    assert file_in(tmp_path / "whole").read_bytes() != path.read_bytes()
    became = torchrun(3, tmp_path, "whole")
    assert file_in(tmp_path / "whole").read_bytes() == path.read_bytes()
    # What was saved was not done again.
    made = sum(len(process["whole"]["told"]) for process in became)
    assert made < len(told) - 2 * SAVE_EVERY


def test_one_goes_on_where_two_lost_each_other(alone, tmp_path):
    """Without torchrun, which would end them all: the connection tells."""
    path, told = alone
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    results = tmp_path / "results"
    results.mkdir()
    processes = [
        subprocess.Popen(
            [sys.executable, str(SCRIPT), str(tmp_path), str(results), "dying"],
            env=environment(
                RANK=str(rank), WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port)
            ),
        )
        for rank in range(2)
    ]
    codes = [process.wait(timeout=PATIENCE) for process in processes]
    assert codes == [0, -9]
    became = json.loads((results / "0.json").read_text("utf-8"))["dying"]
    assert "another process of this pass was lost" in became["error"]
    assert became["code"] == 3
    cache = tmp_path / "dying"
    assert file_in(cache).read_bytes() != path.read_bytes()
    _, again = one_pass(cache)
    assert len(again) < len(told) - SAVE_EVERY
    assert file_in(cache).read_bytes() == path.read_bytes()


def test_a_process_knows_its_place():
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}
    assert launch({}) is None
    assert launch({"RANK": "0", "WORLD_SIZE": "1"}) is None
    assert launch({"WORLD_SIZE": "4"}) is None
    whole = {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4", **meeting}
    assert launch(whole) == Launch(5, 8, 1, 4)
    with pytest.raises(SpecError, match="MASTER_ADDR and MASTER_PORT are not set"):
        launch({"RANK": "0", "WORLD_SIZE": "2"})


@pytest.mark.parametrize(
    ("device", "gpus", "own"),
    [("auto", 0, "cpu"), ("cpu", 4, "cpu"), ("auto", 4, "cuda:3"), ("cuda", 4, "cuda:3")],
)
def test_every_process_has_a_device_of_its_own(monkeypatch, device, gpus, own):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    place = Launch(rank=7, size=8, local_rank=3, local_size=4)
    assert own_device(place, device, False) == own
    with pytest.raises(SpecError, match="--device-map"):
        own_device(place, device, True)
    with pytest.raises(SpecError, match="write --device cuda"):
        own_device(place, "cuda:1", False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(PrerequisiteError, match="4 processes for"):
        own_device(place, "cuda", False)
