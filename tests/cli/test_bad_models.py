"""Models that cannot be edited are refused before any work, with what to do."""

import json
import shutil

import pytest
import torch
from calling import files
from safetensors.torch import load_file, save_file
from tiny import VOCABULARY, byte_tokenizer
from transformers import BertConfig, BertLMHeadModel, PersimmonConfig, PersimmonForCausalLM

from revive.cli.complaints import account
from revive.models.loading import load_model
from revive.sources.model_config import read_model_config

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


@pytest.fixture
def pickled(copy, tmp_path):
    """A model whose weights are pickles, one of which leaves a mark when it is opened."""
    mark = tmp_path / "ran"

    class Mark:
        def __reduce__(self):
            return (open, (str(mark), "w"))

    weights = load_file(copy / "model.safetensors")
    (copy / "model.safetensors").unlink()
    torch.save(weights, copy / "pytorch_model.bin")
    torch.save({"x": Mark()}, copy / "pytorch_model-2.bin")
    return copy, mark


def test_pickled_weights_are_not_opened(revive, spec, edits, pickled, tmp_path):
    folder, mark = pickled
    told = (str(folder), "are pickles (pytorch_model", "convert them", "save_pretrained('OUT')")
    revive("check", spec(model={"name": str(folder)})).refused(2, *told)
    revive("run", spec(model={"name": str(folder)}), "--out", "out", "--quiet").refused(2, *told)
    revive("evaluate", folder, "--edits", edits).refused(2, *told)
    revive("doctor", folder).refused(2, *told)
    assert not mark.exists()
    # Through transformers alone, whatever the folder's listing says.
    (folder / "empty.safetensors").touch()
    ran = revive("evaluate", folder, "--edits", edits, "--device", "cpu", "--quiet")
    ran.refused(2, "safetensors")
    assert not mark.exists()


def test_the_advice_for_pickled_weights_works(revive, spec, pickled, tmp_path):
    folder, _ = pickled
    (folder / "pytorch_model-2.bin").unlink()
    line = revive("check", spec(model={"name": str(folder)})).line
    code = line.partition("in Python: ")[2].partition(". Then")[0]
    exec(code.replace("'OUT'", repr(str(tmp_path / "converted"))))
    ran = revive("check", spec(model={"name": str(tmp_path / "converted")}))
    assert ran.code == 0, ran.err


def test_safetensors_beside_pickles_are_taken(revive, spec, copy):
    (copy / "pytorch_model.bin").write_bytes(b"not even a pickle")
    ran = revive("run", spec(model={"name": str(copy)}), "--out", "out", "--quiet")
    assert ran.code == 0, ran.err


def mutations(value):
    """Other values of the same key, most of them of another type."""
    yield from (None, True, -1, 0, 10**9, 10**30, 1.5, "x", "", [], [1], {}, {"a": 1})
    if isinstance(value, str):
        yield value[:-1]


FILES = ("config.json", "tokenizer_config.json", "tokenizer.json")


@pytest.mark.parametrize("file", FILES)
def test_damaged_small_files_are_told_in_a_line(model, tmp_path, monkeypatch, file):
    """Every key of every small file, each with a dozen other values, and the file cut off."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = shutil.copytree(model, tmp_path / "m")
    content = json.loads((folder / file).read_text("utf-8"))
    cases = [
        json.dumps({**content, key: other})
        for key, value in content.items()
        for other in mutations(value)
    ]
    text = json.dumps(content)
    cases += [json.dumps({k: v for k, v in content.items() if k != gone}) for gone in content]
    cases += [text[: len(text) * part // 8] for part in range(8)]
    cases += ["[" * 100_000, '"x"', "null", "\x00" * 50, "9" * 5000]
    wrong: dict[str, str] = {}
    told: set[str] = set()
    for case in cases:
        (folder / file).write_text(case, "utf-8")
        try:
            read_model_config(str(folder))
            load_model(str(folder), device="cpu")
        except Exception as error:
            code, message = account(error)
            told.add(message)
            if code not in (2, 3):
                wrong.setdefault(message, case[-200:])
    assert told
    assert wrong == {}


def test_weights_of_other_sizes_are_told_in_a_line(revive, spec, copy):
    """transformers prints a table of them before it fails."""
    content = json.loads((copy / "config.json").read_text("utf-8"))
    (copy / "config.json").write_text(json.dumps({**content, "intermediate_size": 4096}), "utf-8")
    ran = revive("run", spec(model={"name": str(copy)}), "--out", "out", "--quiet")
    ran.refused(2, f"cannot read {copy}", "damaged or not what its config.json says", "mismatch")


@pytest.mark.parametrize("file", [*FILES, "adapter_config.json"])
def test_endless_brackets_are_told_in_a_line(revive, spec, copy, file):
    if file == "adapter_config.json":
        (copy / "config.json").unlink()
    (copy / file).write_text("[" * 100_000, "utf-8")
    for command in ("check", "run"):
        ran = revive(command, spec(model={"name": str(copy)}))
        if command == "run" or file in ("config.json", "adapter_config.json"):
            ran.refused(2, str(copy))
