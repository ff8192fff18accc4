"""`revive export` refuses before it writes anything."""

import pytest


@pytest.fixture
def run(revive, spec, tmp_path):
    assert revive("run", spec(), "--out", "run", "--quiet").code == 0
    return tmp_path / "run"


def test_what_is_refused(revive, run, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("x", "utf-8")
    revive("export", run, "full").refused(2, "full exists and is not empty")
    revive("export", run, "out", "--rank", 3).refused(2, "--rank: only an adapter has one")
    revive("export", "nowhere", "out").refused(2, "nowhere")
    ran = revive("export", run, "out", "--step", 9)
    assert ran.code == 2
    assert "batch 9 does not stand; the run has 3 of them" in ran.err
    assert not (tmp_path / "out").exists()


def test_what_is_refused_of_gguf_files(revive, run, tmp_path):
    gguf = ("--format", "gguf")
    revive("export", run, "out", *gguf).refused(2, "name a file that ends in .gguf")
    taken = tmp_path / "taken.gguf"
    taken.write_text("x", "utf-8")
    revive("export", run, taken, *gguf).refused(2, "taken.gguf exists; choose another name")
    (tmp_path / "card.md").write_text("x", "utf-8")
    revive("export", run, "card.gguf", *gguf).refused(2, "card.md exists")
    ran = revive("export", run, "out.gguf", *gguf)
    assert ran.code == 2
    for part in ("was not read from a GGUF file", "convert_hf_to_gguf.py", "--gguf base.gguf"):
        assert part in ran.err
    more = (*gguf, "--gguf", "nowhere.gguf")
    assert "there is no file nowhere.gguf" in revive("export", run, "out.gguf", *more).err
    more = (*gguf, "--gguf", taken)
    assert "--gguf: " in (err := revive("export", run, "out.gguf", *more).err)
    assert "is no GGUF file" in err
    revive("export", run, "out", "--gguf", taken).refused(2, "hf is not written into a GGUF file")
    revive("export", run, "out", "--keep-type").refused(2, "--keep-type: it is for --format gguf")
    more = (*gguf, "--dtype", "q4_k")
    revive("export", run, "out.gguf", *more).refused(2, "'q4_k' cannot be written to GGUF")
    revive("export", run, "out.gguf", *gguf, "--rank", 3).refused(2, "only an adapter has one")
    assert not (tmp_path / "out.gguf").exists()


def test_a_model_that_is_not_the_base_any_more(revive, spec, model, tmp_path):
    import shutil

    from safetensors.torch import load_file, save_file

    own = shutil.copytree(model, tmp_path / "own")
    path = spec(model={"name": str(own), "device": "cpu"})
    assert revive("run", path, "--out", "run", "--quiet").code == 0
    weights = load_file(own / "model.safetensors")
    weights["model.norm.weight"].add_(0.5)
    save_file(weights, own / "model.safetensors", metadata={"format": "pt"})
    ran = revive("export", "run", "out")
    assert ran.code == 2
    assert "is not the one the run began with" in ran.err
    assert not (tmp_path / "out").exists()
