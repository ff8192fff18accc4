"""The shipped weights: packed, and written out the same everywhere."""

import hashlib
import shutil
import stat

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from revive.errors import PrerequisiteError
from revive.lab import model_path, weights
from revive.models.loading import load_model
from revive.models.stored_dtype import main_dtype

# Of model.safetensors: another value means that users' fingerprints, caches and runs change too.
WRITTEN_OUT = "33ea7196cebf2d91ac2d47f5d1d117ed8033b26a229bb1e2cfd12578ddb5e386"


def test_weights_fit_into_the_package():
    assert sum(path.stat().st_size for path in weights.PACKAGED.iterdir()) < 13e6


def test_the_same_bytes_everywhere(tmp_path):
    folder = weights.unpack(weights.PACKAGED, tmp_path / "lab")
    content = (folder / "model.safetensors").read_bytes()
    assert hashlib.sha256(content).hexdigest() == WRITTEN_OUT
    assert (model_path() / "model.safetensors").read_bytes() == content
    assert not (folder / weights.PACKED).exists()


def test_values_are_those_of_the_blocks_rounded_as_torch_does():
    packed = weights.read_packed(weights.PACKAGED / weights.PACKED)
    written = load_file(model_path() / "model.safetensors")
    assert packed.keys() == written.keys()
    for name, values in packed.items():
        assert torch.equal(torch.from_numpy(values).bfloat16(), written[name]), name


def test_packing_loses_what_four_bits_lose_and_no_more(tmp_path):
    generator = np.random.default_rng(0)
    matrix = generator.standard_normal((8, 64), dtype=np.float32)
    vector = generator.standard_normal(8, dtype=np.float32)
    weights.pack({"matrix": matrix, "vector": vector}, tmp_path / weights.PACKED)
    again = weights.read_packed(tmp_path / weights.PACKED)
    assert np.array_equal(again["vector"], vector)
    assert again["matrix"].shape == matrix.shape
    blocks = np.abs(matrix).reshape(8, 2, 32).max(axis=-1, keepdims=True)
    off = np.abs(again["matrix"] - matrix).reshape(8, 2, 32) / blocks
    # One step is an eighth of the largest value; the far end of the other sign is one step short.
    assert 0 < off.max() <= 1 / 8 + 1e-3
    assert np.median(off) <= 1 / 16


@pytest.mark.parametrize("damage", ["missing", "cut", "nonsense"])
def test_a_damaged_package_is_told(tmp_path, damage):
    packaged = shutil.copytree(weights.PACKAGED, tmp_path / "packaged")
    path = packaged / weights.PACKED
    if damage == "missing":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:1_000_000])
    else:
        path.write_bytes(b"version https://git-lfs.github.com/spec/v1\n" * 100)
    with pytest.raises(PrerequisiteError, match=r"lab model is not whole .* reinstall"):
        weights.unpack(packaged, tmp_path / "lab")
    assert not (tmp_path / "lab").exists()


def test_files_of_a_package_that_is_read_only_become_the_users_own(tmp_path):
    packaged = shutil.copytree(weights.PACKAGED, tmp_path / "packaged")
    for path in packaged.iterdir():
        path.chmod(0o400)
    packaged.chmod(0o500)
    try:
        folder = weights.unpack(packaged, tmp_path / "lab")
    finally:
        packaged.chmod(0o700)
    asked = tmp_path / "asked"
    asked.touch()
    modes = {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert modes == {stat.S_IMODE(asked.stat().st_mode)}


def test_it_is_made_anew_where_the_cache_was_emptied(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    shutil.rmtree(model_path())
    loaded = load_model("lab", device="cpu")
    assert loaded.stored == torch.bfloat16 == main_dtype(model_path(), {})
    with torch.no_grad():
        logits = loaded.model(torch.tensor([[0, 5, 6]])).logits
    assert torch.isfinite(logits).all()
