"""What real model folders hold besides a plain model: told in a sentence, or simply edited."""

import json
import shutil

import pytest
import torch
from calling import files
from safetensors.torch import load_file, save_file
from tiny import byte_tokenizer, tiny_model
from transformers import AutoModelForCausalLM, Gemma3Config, Gemma3ForConditionalGeneration

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 98362432\n"
SETTINGS = ("layers=[0,1]", "ridge=10", "steps=3", "lr=0.1", "contexts=1", "context_length=3")
SETTINGS = [part for text in SETTINGS for part in ("--set", f"editor.{text}")]
DOWN = "model.layers.1.mlp.down_proj.weight"


@pytest.fixture
def copy(model, tmp_path):
    """A copy of the tiny model that may be spoilt."""
    return shutil.copytree(model, tmp_path / "copy")


@pytest.fixture
def edited(revive, spec, edits):
    """Edit a folder's model with the command; what it says, and the folder that it made."""

    def call(folder, *more):
        spec()  # writes the text
        given = ("--out", "edited", "--text", "corpus.txt", "--quiet", "--device", "cpu", *SETTINGS)
        ran = revive("edit", folder, edits, *given, *more)
        assert ran.code == 0, ran.err
        return ran

    return call


def change_config(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), **changes}), "utf-8")


def unreadable_weights(folder):
    """Weights that cannot be opened, not even by root: whoever tries fails for that reason."""
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").mkdir()


def every_command(revive, spec, edits, folder, code, *parts):
    spec()
    calls = (
        ("doctor", folder),
        ("evaluate", folder, "--edits", edits),
        ("edit", folder, edits, "--out", "edited", "--text", "corpus.txt"),
        ("moments", folder, "--text", "corpus.txt"),
        ("spectrum", folder),
        ("check", spec(model={"name": str(folder)})),
        ("run", spec(model={"name": str(folder)}), "--out", "out"),
    )
    before = files(folder)
    for call in calls:
        revive(*call).refused(code, *parts)
    assert files(folder) == before


def test_an_adapter_names_its_base_and_how_to_merge(revive, spec, edits, tmp_path):
    folder = tmp_path / "adapter"
    folder.mkdir()
    about = {"peft_type": "LORA", "base_model_name_or_path": "org/base"}
    (folder / "adapter_config.json").write_text(json.dumps(about), "utf-8")
    save_file({"x": torch.zeros(1)}, folder / "adapter_model.safetensors")
    parts = ("no model but an adapter of org/base", "merge_and_unload", "Name org/base")
    every_command(revive, spec, edits, folder, 2, *parts)


def test_what_cannot_be_edited_is_refused_without_a_look_at_its_weights(revive, spec, edits, copy):
    unreadable_weights(copy)
    change_config(copy, architectures=["PersimmonForCausalLM"], model_type="persimmon")
    part = "architecture PersimmonForCausalLM has no supported layer"
    every_command(revive, spec, edits, copy, 2, part)


@pytest.mark.parametrize(
    ("config", "name"),
    [
        ({"quant_method": "gptq", "bits": 4, "group_size": 128}, "GPTQ"),
        ({"quant_method": "awq", "bits": 4}, "AWQ"),
        ({"quant_method": "compressed-tensors", "format": "pack-quantized"}, "compressed-tensors"),
        ({"load_in_4bit": True}, "bitsandbytes"),
    ],
)
def test_weights_that_are_no_numbers_are_refused(revive, spec, edits, copy, config, name):
    unreadable_weights(copy)
    change_config(copy, quantization_config=config)
    part = f"is stored quantised by {name}"
    every_command(revive, spec, edits, copy, 2, part, "--quantize")


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json"])
def test_a_pointer_of_git_lfs_is_called_that(revive, spec, edits, copy, name):
    (copy / name).write_text(POINTER, "utf-8")
    every_command(
        revive, spec, edits, copy, 2, f"{copy / name} is a git-lfs pointer", "git lfs pull"
    )


def test_a_gguf_file_may_be_a_pointer_too(revive, tmp_path):
    (tmp_path / "model.gguf").write_text(POINTER, "utf-8")
    revive("doctor", tmp_path / "model.gguf").refused(2, "is a git-lfs pointer")


def test_a_missing_tokenizer_is_told_with_where_to_get_one(revive, copy):
    for path in copy.glob("tokenizer*"):
        path.unlink()
    revive("doctor", copy).refused(2, "has no tokenizer", "tokenizer.json", "save_pretrained")


@pytest.mark.parametrize("ci", ["", "true"])
def test_a_missing_package_is_named_whole(revive, copy, monkeypatch, ci):
    # Where it takes the machine for a build server, transformers hands its warnings on to us.
    monkeypatch.setenv("CI", ci)
    # What transformers needs for a tokenizer of this kind is not installed here.
    (copy / "tokenizer.json").unlink()
    (copy / "tokenizer.model").write_bytes(b"\n\x0e\n\x05<unk>\x15\x00\x00\x00\x00\x18\x02")
    (copy / "tokenizer_config.json").write_text('{"tokenizer_class": "LlamaTokenizer"}', "utf-8")
    ran = revive("doctor", copy)
    assert ran.code in (2, 3)
    assert "sentencepiece" in ran.line or "tiktoken" in ran.line


def test_a_token_without_a_row_is_found(revive, copy):
    tokenizer = byte_tokenizer(bos=True)
    tokenizer.add_tokens(["<extra>"])
    tokenizer.save_pretrained(copy)
    ran = revive("doctor", copy, "--json", "--device", "cpu", "--layers", "0")
    assert ran.code == 0
    found = {f["check"]: f for f in json.loads(ran.out)["findings"]}["vocabulary"]
    assert found["verdict"] == "warning"
    assert "'<extra>' (259) have no row: the model has 259" in found["text"]


def test_an_fp8_checkpoint_is_edited_and_saved_in_what_its_config_says(edited, copy, tmp_path):
    weights = load_file(copy / "model.safetensors")
    stored = {}
    for name, value in weights.items():
        stored[name] = value.bfloat16()
        if name.endswith("_proj.weight"):
            scale = value.abs().max() / 448  # the largest number of float8_e4m3fn
            stored[name] = (value / scale).to(torch.float8_e4m3fn)
            stored[f"{name}_scale_inv"] = scale.reshape(1, 1)
    save_file(stored, copy / "model.safetensors", metadata={"format": "pt"})
    about = {"quant_method": "fp8", "activation_scheme": "dynamic", "weight_block_size": [128, 128]}
    change_config(copy, quantization_config=about, dtype="bfloat16")
    edited(copy)
    after = AutoModelForCausalLM.from_pretrained(tmp_path / "edited")
    assert after.dtype == torch.bfloat16
    assert "quantization_config" not in (tmp_path / "edited" / "config.json").read_text("utf-8")
    up = "model.layers.1.mlp.up_proj.weight"
    back = stored[up].float() * stored[f"{up}_scale_inv"]
    assert torch.equal(after.get_parameter(up), back.bfloat16())
    change = after.get_parameter(DOWN) - stored[DOWN].float() * stored[f"{DOWN}_scale_inv"]
    assert change.abs().max() > 0.01


def test_a_multimodal_gemma_is_edited_in_its_text_part(edited, tmp_path):
    text = tiny_model("gemma3", dtype=torch.float32).config
    vision = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    vision |= {"num_attention_heads": 2, "image_size": 28, "patch_size": 14}
    tokens = {"image_token_index": 5, "boi_token_index": 6, "eoi_token_index": 7}
    whole = {"text_config": text.to_dict(), "vision_config": vision, "mm_tokens_per_image": 4}
    torch.manual_seed(0)
    base = Gemma3ForConditionalGeneration(Gemma3Config(**whole, **tokens)).eval()
    base.save_pretrained(tmp_path / "base")
    byte_tokenizer(bos=True).save_pretrained(tmp_path / "base")
    edited(tmp_path / "base")
    after = Gemma3ForConditionalGeneration.from_pretrained(tmp_path / "edited").state_dict()
    changed = {k for k, v in base.state_dict().items() if not torch.equal(v, after[k])}
    assert {name.partition("layers.")[2] for name in changed} == {
        "0.mlp.down_proj.weight",
        "1.mlp.down_proj.weight",
    }
