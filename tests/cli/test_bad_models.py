"""Models that cannot be edited are refused before any work, with what to do."""

import shutil

import pytest
import torch
from calling import files
from safetensors.torch import load_file, save_file
from tiny import VOCABULARY, byte_tokenizer
from transformers import BertConfig, BertLMHeadModel, PersimmonConfig, PersimmonForCausalLM

OTHERS = {
    "BertLMHeadModel": lambda: BertLMHeadModel(
        BertConfig(
            vocab_size=VOCABULARY,
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=48,
            is_decoder=True,
        )
    ),
    "PersimmonForCausalLM": lambda: PersimmonForCausalLM(
        PersimmonConfig(
            vocab_size=VOCABULARY,
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=2,
        )
    ),
}


@pytest.fixture
def copy(model, tmp_path):
    """A copy of the tiny model that may be spoilt."""
    return shutil.copytree(model, tmp_path / "copy")


def spoil(folder, name, value):
    weights = load_file(folder / "model.safetensors")
    weights[name].view(-1)[7] = value
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize("name", OTHERS)
def test_an_architecture_without_a_family(revive, spec, tmp_path, name):
    OTHERS[name]().save_pretrained(tmp_path / "other")
    byte_tokenizer().save_pretrained(tmp_path / "other")
    path = spec(model={"name": str(tmp_path / "other")})
    ran = revive("run", path, "--out", "out", "--quiet")
    ran.refused(2, f"architecture {name} has no supported layer", "LlamaForCausalLM", "GPT2")
    assert not (tmp_path / "out").exists()
    given = ("--edits", "edits.jsonl", "--tasks", "edits", "--device", "cpu")
    assert revive("evaluate", tmp_path / "other", *given).code == 2


def test_a_model_folder_that_is_not_there(revive, spec, edits, tmp_path):
    missing = str(tmp_path / "none")
    for path in (missing, "./none"):
        ran = revive("run", spec(model={"name": path}), "--out", "out", "--quiet")
        ran.refused(2, "model.name", path, "there is no", "check the path")
    revive("edit", missing, edits, "--out", "out", "--quiet").refused(2, missing)
    revive("evaluate", missing).refused(2, missing)
    assert not (tmp_path / "out").exists()


def test_a_hub_model_that_is_not_at_hand_is_a_missing_prerequisite(revive, spec, tmp_path):
    ran = revive("run", spec(model={"name": "nobody/none"}), "--out", "out", "--quiet")
    ran.refused(3, "nobody/none", "hf download nobody/none")
    assert not (tmp_path / "out").exists()


def test_a_device_that_is_not_there(revive, spec, tmp_path):
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    ran = revive("run", spec(), "--set", "model.device=cuda", "--out", "out", "--quiet")
    ran.refused(3, "model.device: cuda asked for, but CUDA is not available")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "reason"),
    [("config.json", "no config.json"), ("model.safetensors", "cannot read"), ("tok*", "cannot")],
)
def test_a_model_folder_with_a_file_missing(revive, spec, copy, tmp_path, name, reason):
    for path in copy.glob(name):
        path.unlink()
    ran = revive("run", spec(model={"name": str(copy)}), "--out", "out", "--quiet")
    ran.refused(2, str(copy), reason)
    assert not (tmp_path / "out").exists()


def test_a_model_file_that_is_cut_off(revive, spec, copy, tmp_path):
    path = copy / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    ran = revive("run", spec(model={"name": str(copy)}), "--out", "out", "--quiet")
    ran.refused(2, f"cannot read {copy}")
    assert not (tmp_path / "out").exists()


def test_a_checkpoint_that_lacks_a_weight(revive, spec, copy, tmp_path):
    weights = load_file(copy / "model.safetensors")
    del weights["model.layers.2.mlp.up_proj.weight"]
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    ran = revive("run", spec(model={"name": str(copy)}), "--out", "out", "--quiet")
    ran.refused(2, "lacks 1 weights", "model.layers.2.mlp.up_proj.weight", "complete checkpoint")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_is_none_in_an_edited_weight(revive, spec, model, copy, tmp_path, value):
    key = "model.layers.1.mlp.down_proj.weight"
    spoil(copy, key, value)
    path = spec(model={"name": str(copy), "device": "cpu"})
    ran = revive("run", path, "--out", "out", "--quiet")
    ran.refused(4, key, "NaN or infinity", "load an intact checkpoint")
    assert not (tmp_path / "out" / "updates").exists()
    shutil.copy(model / "model.safetensors", copy / "model.safetensors")
    assert revive("resume", "out", "--quiet", "--json").code == 0


@pytest.mark.parametrize("contexts", [0, 1])
def test_a_number_that_is_none_in_a_weight_that_is_not_edited(
    revive, spec, edits, copy, tmp_path, contexts
):
    spoil(copy, "model.layers.2.mlp.up_proj.weight", float("nan"))
    path = spec(model={"name": str(copy), "device": "cpu"}, editor={"contexts": contexts})
    revive("run", path, "--out", "out", "--quiet").refused(4, "intact checkpoint")
    before = files(copy)
    options = [
        part
        for option in ("layers=[0, 1]", "ridge=10", "steps=2", f"contexts={contexts}")
        for part in ("--set", f"editor.{option}")
    ]
    given = ("--out", "edited", "--text", "corpus.txt", "--quiet", *options)
    revive("edit", copy, edits, *given).refused(4, "intact checkpoint")
    assert not (tmp_path / "edited").exists()
    assert files(copy) == before
