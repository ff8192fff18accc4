"""A model's fingerprint: any value that changes is seen, and it is computed once for a folder."""

import json
import os
import shutil

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tiny import byte_tokenizer, tiny_model

from revive.errors import SpecError
from revive.models import loading as module
from revive.models.conversion import converted_folder
from revive.models.fingerprint import is_model, model_fingerprint, sampled_fingerprint
from revive.models.loading import load_model
from revive.run_folder.store import RunFolder
from revive.runs.identity import check_model

KEY = "model.layers.1.mlp.down_proj.weight"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A model whose edited weight has more values than older versions looked at."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / "model"
    tiny_model("llama", inner=512, dtype=torch.float32).save_pretrained(path)
    byte_tokenizer(bos=True).save_pretrained(path)
    return path


@pytest.fixture
def counted(monkeypatch):
    """How often a model was hashed."""
    calls = []
    monkeypatch.setattr(
        module, "model_fingerprint", lambda *a: calls.append(1) or model_fingerprint(*a)
    )
    return calls


def change(folder, by, step, start=0):
    path = folder / "model.safetensors"
    weights = load_file(path)
    weights[KEY].view(-1)[start::step] += by
    save_file(weights, path, metadata={"format": "pt"})


def test_one_in_every_second_value_is_seen(folder):
    before = load_model(str(folder), device="cpu")
    assert before.model.get_parameter(KEY).numel() > 2 * 4096
    sample = sampled_fingerprint(before.model)
    change(folder, 1.0, 2, start=1)
    after = load_model(str(folder), device="cpu")
    # Negative control: a sample does not see it.
    assert sampled_fingerprint(after.model) == sample
    assert after.fingerprint != before.fingerprint


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_any_single_value_is_seen(dtype):
    model = tiny_model("llama", dtype=dtype)
    before = model_fingerprint(model)
    weight = model.get_parameter(KEY).data.view(-1)
    for place in (0, 1, 777, weight.numel() - 1):
        kept = weight[place].clone()
        weight[place] = torch.nextafter(kept, torch.full_like(kept, 9.0))
        assert model_fingerprint(model) != before
        weight[place] = kept
    assert model_fingerprint(model) == before


def test_it_does_not_depend_on_chunks_of_threads(monkeypatch):
    model = tiny_model("llama")
    before = model_fingerprint(model)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 7)
    assert model_fingerprint(model) == before


def test_a_folder_is_hashed_once_and_again_when_a_file_changes(folder, counted):
    found = [load_model(str(folder), device="cpu").fingerprint for _ in range(3)]
    assert (len(set(found)), len(counted)) == (1, 1)
    assert load_model(str(folder), dtype="bfloat16", device="cpu").fingerprint != found[0]
    assert len(counted) == 2
    path = folder / "model.safetensors"
    times = path.stat()
    change(folder, 1e-3, 2)
    # Size and time as they were: still seen.
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (times.st_size, times.st_mtime_ns)
    assert load_model(str(folder), device="cpu").fingerprint != found[0]
    assert len(counted) == 3


def test_a_spoilt_or_closed_cache_costs_time_and_no_more(folder, counted, tmp_path, monkeypatch):
    before = load_model(str(folder), device="cpu").fingerprint
    (kept,) = (tmp_path / "cache" / "revive" / "digests").iterdir()
    for content in (b"", b"v2-" + b"z" * 64, b"\xff" * 70):
        kept.write_bytes(content)
        assert load_model(str(folder), device="cpu").fingerprint == before
    assert len(counted) == 4
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert load_model(str(folder), device="cpu").fingerprint == before


def test_a_copy_elsewhere_is_the_same_model(folder, tmp_path):
    other = shutil.copytree(folder, tmp_path / "other")
    found = [load_model(str(f), device="cpu").fingerprint for f in (folder, other)]
    assert found[0] == found[1]


def test_a_gguf_file_is_converted_again_when_any_byte_of_it_changes(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    file = tmp_path / "m.gguf"
    content = bytearray(os.urandom(3 << 20))
    file.write_bytes(content)
    times = file.stat()
    before = converted_folder(file)
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert converted_folder(file) != before
    # The same bytes elsewhere are the same model.
    content[len(content) // 2] ^= 1
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "m.gguf").write_bytes(content)
    assert converted_folder(tmp_path / "x" / "m.gguf") == before


def test_runs_of_older_versions_are_known_by_their_sample(folder, tmp_path):
    loaded = load_model(str(folder), device="cpu")
    run = RunFolder.create(tmp_path / "run")
    run.write_env({"model_fingerprint": sampled_fingerprint(loaded.model)})
    check_model(run, [], loaded)
    assert is_model(loaded.model, loaded.fingerprint)
    change(folder, 1.0, 1)
    with pytest.raises(SpecError, match="not the one the run began with"):
        check_model(run, [], load_model(str(folder), device="cpu"))


def test_shipped_moments_belong_to_the_real_model(smollm2):
    from revive.moments.shipped_moments import FOLDER

    with safe_open(FOLDER / "smollm2.safetensors", framework="pt") as file:
        known = file.metadata()["fingerprint"]
    assert load_model(str(smollm2), device="cpu").fingerprint == known
    assert json.loads((smollm2 / "config.json").read_text("utf-8"))["hidden_size"] == 576
