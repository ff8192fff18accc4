"""The commands on a mixture of experts: refused before loading, estimated, examined."""

import json

import pytest
import torch
import yaml
from calling import edit, write_edits
from tiny import byte_tokenizer, tiny_model
from transformers import MixtralConfig, Qwen3MoeConfig

GIB = 2**30


@pytest.fixture(scope="module")
def mixture(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "tiny"
    tiny_model("qwen3_moe", dtype=torch.float32).save_pretrained(folder)
    byte_tokenizer(bos=True).save_pretrained(folder)
    return folder


@pytest.fixture
def corpus(tmp_path):
    path = tmp_path / "corpus.txt"
    path.write_text("The ship left the harbour.\nNobody saw it come back.\n" * 10, "utf-8")
    return path


@pytest.fixture
def spec_of(tmp_path, corpus):
    def write(model, **parts):
        whole = {
            "model": {"name": str(model)},
            "edits": {"path": str(write_edits(tmp_path / "edits.jsonl", edit(0), edit(1)))},
            "moments": {"text": [str(corpus)]},
            **parts,
        }
        path = tmp_path / "spec.yaml"
        path.write_text(yaml.safe_dump(whole), "utf-8")
        return path

    return write


def config_only(folder, config):
    """A folder with a config and nothing to load: whoever loads it fails otherwise."""
    config.save_pretrained(folder)
    path = folder / "config.json"
    known = json.loads(path.read_text("utf-8"))
    name = {"mixtral": "MixtralForCausalLM", "qwen3_moe": "Qwen3MoeForCausalLM"}
    path.write_text(json.dumps({**known, "architectures": [name[known["model_type"]]]}), "utf-8")
    return folder


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        ({"editor": {"name": "rome", "layers": [3]}}, ("rome writes to one projection", "memit")),
        ({"editor": {"name": "nse", "layers": [3]}}, ("nse writes to one projection",)),
        ({"editor": {"name": "ultraedit", "layers": [3]}}, ("ultraedit writes",)),
        (
            {"editor": {"name": "memit", "layers": [3]}, "guard": {"solve": "constrained"}},
            ("guard.solve: constrained", "posthoc"),
        ),
        (
            {"editor": {"name": "memit", "layers": [3]}, "guard": {"energy": "auto"}},
            ("guard.energy: auto", "such as 0.1"),
        ),
    ],
)
def test_what_cannot_be_done_is_refused_without_loading(revive, spec_of, tmp_path, parts, told):
    model = config_only(tmp_path / "mixtral", MixtralConfig())
    revive("run", spec_of(model, **parts), "--out", tmp_path / "run").refused(2, *told)
    assert not (tmp_path / "run").exists()


def test_a_dense_block_of_a_mixture_takes_any_editor(revive, spec_of, mixture, tmp_path):
    rome = {"name": "rome", "layers": [0], "contexts": 0, "steps": 2}
    ran = revive("run", spec_of(mixture, editor=rome), "--out", tmp_path / "run", "--quiet")
    assert ran.code == 0, ran.err
    revive("check", spec_of(mixture, editor={**rome, "layers": [1]})).refused(2, "rome writes")


def needs(revive, spec):
    ran = revive("check", spec, "--json")
    assert ran.code == 0, ran.err
    return json.loads(ran.out)


def test_the_estimate_counts_every_expert(revive, spec_of, tmp_path):
    """8 x 14,336^2 fp64 twice (moment and factor) is 24.5 GiB a layer, beside the model."""
    big = MixtralConfig(hidden_size=4096, intermediate_size=14336, num_hidden_layers=32)
    model = config_only(tmp_path / "mixtral", big)
    editor = {"name": "memit", "layers": [4, 5, 6]}
    three = needs(revive, spec_of(model, editor=editor))
    one = needs(revive, spec_of(model, editor={**editor, "layers": [6]}))
    layer = 16 * 8 * 14336**2 + 8 * 8 * 4096 * 14336
    parts = ("moments", "equations", "ledger")
    added = [three["memory"]["standing"][p] - one["memory"]["standing"][p] for p in parts]
    assert sum(added) == 2 * layer
    assert one["memory_bytes"] > layer + 4 * 46.7e9
    small = Qwen3MoeConfig(
        hidden_size=2048, moe_intermediate_size=768, num_experts=128, num_hidden_layers=48
    )
    model = config_only(tmp_path / "qwen", small)
    three = needs(revive, spec_of(model, editor=editor))
    one = needs(revive, spec_of(model, editor={**editor, "layers": [6]}))
    layer = 16 * 128 * 768**2 + 8 * 128 * 2048 * 768
    parts = ("moments", "equations", "ledger")
    added = [three["memory"]["standing"][p] - one["memory"]["standing"][p] for p in parts]
    assert sum(added) == 2 * layer


def test_doctor_and_moments(revive, mixture, corpus):
    ran = revive("doctor", mixture, "--layers", "0,1", "--json")
    assert ran.code == 0, ran.err
    found = {f["check"]: f for f in json.loads(ran.out)["findings"]}
    assert {f["verdict"] for f in found.values()} == {"ok"}
    assert "4 x 32 x 48" in found["sites"]["text"]
    assert "expert 0 of 4" in found["spectrum, block 1"]["text"]
    assert "summed over the experts" in found["orientation"]["text"]
    ran = revive("moments", mixture, "--text", corpus, "--layers", "1", "--json")
    assert [row["site"][-3:] for row in json.loads(ran.out)] == ["[0]", "[1]", "[2]", "[3]"]
