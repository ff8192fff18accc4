"""A run on a base in 4 bits, and its exports against the unquantised base."""

import pytest
import torch
from e2e_runs import SITES, journal, run_here, write_spec_in
from safetensors.torch import load_file

from revive import Delta, load_model
from revive.export.run import export_run
from revive.runs.rebuild import rebuild

pytest.importorskip("bitsandbytes")


@pytest.fixture(scope="module")
def small_run(tmp_path_factory, tiny_folder, corpus):
    folder = tmp_path_factory.mktemp("small")
    model = {"name": str(tiny_folder), "device": "cpu", "quantize": "4bit"}
    run_here(write_spec_in(folder, tiny_folder, corpus, edits=4, model=model), folder / "run")
    return folder / "run"


def logits(model):
    with torch.no_grad():
        return model(input_ids=torch.tensor([[5, 6, 7, 8]])).logits


def test_its_targets_are_of_the_quantised_base(small_run, tmp_path, tiny_folder, corpus):
    batches = [e for e in journal(small_run) if e["event"] == "batch"]
    assert len(batches) == 2
    for batch in batches:
        assert batch["notes"]["target_loss"] < batch["notes"]["target_first_loss"]
        assert all(site["leak"] < 1e-6 < site["applied"] for site in batch["sites"].values())
    model = {"name": str(tiny_folder), "device": "cpu"}
    run_here(write_spec_in(tmp_path, tiny_folder, corpus, edits=4, model=model), tmp_path / "run")
    (whole, *_) = [e for e in journal(tmp_path / "run") if e["event"] == "batch"]
    first = "target_first_loss"
    assert abs(whole["notes"][first] - batches[0]["notes"][first]) > 1e-3


def test_a_folder_is_the_unquantised_base_plus_the_updates(small_run, tiny_folder, tmp_path):
    done = export_run(small_run, tmp_path / "edited", "hf")
    before = load_file(tiny_folder / "model.safetensors")
    after = load_file(done.path / "model.safetensors")
    ledger = rebuild(small_run).ledger
    assert {n for n in before if not torch.equal(before[n], after[n])} == set(SITES)
    for key in SITES:
        assert torch.equal(after[key], before[key] + ledger.delta(key))
    assert "quantization_config" not in (done.path / "config.json").read_text("utf-8")
    assert "quantised to 4bit" in (done.path / "README.md").read_text("utf-8")


def test_a_delta_and_an_adapter_fit_the_unquantised_base(small_run, tiny_folder, tmp_path):
    folder = export_run(small_run, tmp_path / "edited", "hf").path
    edited = logits(load_model(str(folder), device="cpu").model)
    base = load_model(str(tiny_folder), device="cpu").model
    untouched = logits(base)
    delta = Delta.load(export_run(small_run, tmp_path / "delta", "delta").path)
    delta.apply(base)
    assert torch.allclose(logits(base), edited, rtol=0, atol=1e-4)
    delta.remove(base)
    assert torch.allclose(logits(base), untouched, rtol=0, atol=1e-4)
    assert not torch.allclose(untouched, edited, rtol=0, atol=1e-2)
    adapter = load_file(
        export_run(small_run, tmp_path / "lora", "lora").path / "adapter_model.safetensors"
    )
    ledger = rebuild(small_run).ledger
    for key in SITES:
        module = key.removesuffix(".weight")
        left, right = (adapter[f"base_model.model.{module}.lora_{x}.weight"] for x in "BA")
        assert torch.allclose(left @ right, ledger.delta(key), rtol=0, atol=1e-5)
