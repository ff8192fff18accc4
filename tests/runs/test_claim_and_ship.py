"""What a run claims of a cluster's node, and how its folder comes back from there."""

import os
import subprocess
import sys

import pytest

from revive.errors import PrerequisiteError, SpecError
from revive.sweeps.ray.cluster import cluster
from revive.sweeps.ray.folder_sync import Sender, SyncChunk, receive
from revive.sweeps.ray.resource_request import ResourceRequest, resource_request


@pytest.mark.parametrize(
    ("model", "some_gpu", "gpus"),
    [
        ("lab", False, 0),
        ("lab", True, 1),
        ({"name": "lab", "device": "cpu"}, True, 0),
        ({"name": "lab", "device": "cuda"}, False, 1),
        ({"name": "lab", "device_map": "auto"}, True, 1),
        ({"name": "lab", "device_map": "auto"}, False, 0),
        ({"name": "lab", "device_map": {"a": 0, "b": "cuda:1", "c": "disk"}}, True, 2),
        ({"name": "lab", "device_map": {"a": "cpu", "c": "disk"}}, True, 0),
    ],
)
def test_a_gpu_is_claimed_where_the_spec_asks_for_one(model, some_gpu, gpus):
    spec = {"model": model, "threads": 3}
    assert resource_request(spec, some_gpu=some_gpu) == ResourceRequest(cpus=3, gpus=gpus)
    assert resource_request(spec, some_gpu=some_gpu, gpus=4) == ResourceRequest(cpus=3, gpus=4)


def test_one_thread_is_claimed_where_the_spec_says_nothing():
    assert resource_request({"model": "lab", "threads": None}, some_gpu=False) == ResourceRequest(
        1, 0
    )


def test_a_numbered_gpu_is_refused():
    spec = {"model": {"name": "lab", "device": "cuda:1"}}
    with pytest.raises(SpecError, match="write cuda"):
        resource_request(spec, some_gpu=True)
    assert resource_request(spec, some_gpu=True, gpus=2) == ResourceRequest(1, 2)


def test_without_ray_the_way_to_install_it_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with (
        pytest.raises(PrerequisiteError, match=r"pip install 'revive-edit\[sweep\]'"),
        cluster(None, []),
    ):
        pass


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "nonsense"])
def test_an_address_where_nobody_answers_is_told_at_once(address, capfd):
    pytest.importorskip("ray", reason="ray is not installed")
    before = dict(os.environ)
    with pytest.raises(PrerequisiteError, match="no Ray cluster answers"), cluster(address, []):
        pass
    assert dict(os.environ) == before
    assert capfd.readouterr() == ("", "")


def test_ray_is_imported_by_nobody_who_did_not_ask():
    code = "import revive.cli.main, revive.cli.commands.sweep, revive.sweeps.variants, sys;"
    code += "import revive.sweeps.ray.cluster;"
    code += "sys.exit(bool({'ray', 'torch'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "there"
    (made / "updates").mkdir(parents=True)
    (made / "checkpoints").mkdir()
    (made / "spec.yaml").write_text("a: 1\n")
    (made / "journal.jsonl").write_text("start\n")
    (made / ".lock").write_text("77\n")
    (made / ".half.7.partial").write_text("ha")
    return made


def contents(folder):
    return {p.relative_to(folder).as_posix(): p.read_text() for p in folder.rglob("*.*")}


def test_what_has_changed_arrives_and_what_is_gone_goes(folder, tmp_path):
    sender, here = Sender(folder), tmp_path / "here"
    receive(here, sender.parcel())
    assert contents(here) == {"spec.yaml": "a: 1\n", "journal.jsonl": "start\n", ".lock": ""}
    assert sender.parcel().files == {}
    (folder / "updates" / "000001.safetensors").write_text("one")
    (folder / "checkpoints" / "000001.safetensors").write_text("old")
    with (folder / "journal.jsonl").open("a") as file:
        file.write("batch\n")
    receive(here, sender.parcel())
    (folder / "checkpoints" / "000001.safetensors").unlink()
    receive(here, sender.parcel())
    assert contents(here) == {
        "spec.yaml": "a: 1\n",
        "journal.jsonl": "start\nbatch\n",
        "updates/000001.safetensors": "one",
        ".lock": "",
    }


def test_the_journal_comes_last_however_much_there_is(folder, monkeypatch):
    monkeypatch.setattr("revive.sweeps.ray.folder_sync._AT_A_TIME", 3)
    for step in range(3):
        (folder / "updates" / f"{step:06d}.safetensors").write_text("four")
    sender, order = Sender(folder), []
    while True:
        parcel = sender.parcel()
        order.append(list(parcel.files))
        if parcel.names is not None:
            break
    assert [len(names) for names in order] == [1, 1, 1, 2]
    assert [n for names in order for n in names][-1] == "journal.jsonl"


def test_what_came_from_the_other_end_is_not_sent_back(folder, tmp_path):
    here = tmp_path / "here"
    receive(here, Sender(folder).parcel())
    back = Sender(here)
    assert back.parcel().files.keys() == {"spec.yaml", "journal.jsonl"}
    knows = Sender(here)
    knows.sent()
    assert knows.parcel().files == {}


def test_nothing_is_made_of_an_empty_parcel(tmp_path):
    receive(tmp_path / "none", SyncChunk())
    assert not (tmp_path / "none").exists()
