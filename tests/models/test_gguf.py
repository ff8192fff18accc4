"""GGUF files as models: they compute what the model they were written from computes."""

import gguf
import pytest
import torch
from gguf_files import write_gguf
from tiny import byte_tokenizer, tiny_model
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.integrations import GGUF_CONFIG_MAPPING

from revive.errors import SpecError
from revive.models.loading import load_model
from revive.models.saving import save_model
from revive.presets.facts import model_facts
from revive.sources import gguf_config
from revive.sources.gguf import read_head
from revive.sources.model_config import read_model_config

FAMILIES = ("llama", "qwen2", "qwen3", "gemma2", "gemma3", "phi3", "gpt2", "starcoder2")
FAMILIES = (*FAMILIES, "stablelm", "falcon", "bloom")
IDS = torch.tensor([[0, 35, 77, 12, 120, 66, 5, 9]])
# What a file does not say is the same for all published models of the family.
SAID = {
    "gemma2": {"query_pre_attn_scalar": 256, "layer_types": None},
    "gemma3": {
        "query_pre_attn_scalar": 256,
        "layer_types": None,
        "num_hidden_layers": 6,
        "rope_parameters": {
            "sliding_attention": {"rope_type": "default", "rope_theta": 10_000.0},
            "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1000.0},
        },
    },
}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500_000.0,
    "factor": 32.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}


def of_family(name, **changes):
    """A tiny model with the family's settings that files do not say."""
    model = tiny_model(name, inner=128 if name == "bloom" else 48, dtype=torch.float32)
    changes = {**SAID.get(name, {}), **changes}
    if not changes:
        return model
    config = type(model.config).from_dict({**model.config.to_dict(), **changes})
    torch.manual_seed(1)
    changed = type(model)(config).eval()
    changed.load_state_dict(model.state_dict(), strict=False)  # there may be more blocks
    return changed


def logits(model):
    with torch.no_grad():
        return model(input_ids=IDS).logits


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """Files are written out to it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def written(tmp_path):
    def write(name, **changes):
        model = of_family(name, **changes)
        return model, write_gguf(model, byte_tokenizer(bos=True), tmp_path / f"{name}.gguf")

    return write


@pytest.mark.parametrize("name", FAMILIES)
def test_every_architecture_computes_what_it_did(written, name):
    model, path = written(name)
    loaded = load_model(str(path))
    torch.testing.assert_close(logits(loaded.model), logits(model), rtol=0, atol=1e-5)


def test_scaled_positions_are_read(written):
    _, path = written("llama", rope_parameters=LLAMA3)
    told = load_model(str(path)).model.config.rope_parameters
    assert {key: told[key] for key in LLAMA3} == LLAMA3


def test_positions_scaled_by_an_unknown_rule_are_refused(written):
    _, path = written("llama", rope_parameters={**LLAMA3, "high_freq_factor": 40.0})
    with pytest.raises(SpecError, match="positions are scaled by a rule"):
        load_model(str(path))


def test_the_architectures_are_those_that_transformers_reads():
    known = set(GGUF_CONFIG_MAPPING) | {"qwen2moe", "qwen3moe"}
    assert set(gguf_config._ARCHITECTURES) <= known


@pytest.mark.parametrize("name", FAMILIES)
def test_the_facts_of_a_file_are_those_of_its_model(written, name):
    model, path = written(name)
    facts = model_facts(read_model_config(str(path)))
    # Falcon's config has a name of its own for the one head that all queries share.
    more = {"num_key_value_heads": 1} if name == "falcon" else {}
    assert facts == model_facts({**model.config.to_dict(), "dtype": None, **more})


def test_no_value_is_read_for_the_facts(written):
    _, path = written("llama")
    first = min(stored.offset for stored in read_head(path).tensors.values())
    whole = read_model_config(str(path))
    path.write_bytes(path.read_bytes()[:first])
    assert read_model_config(str(path)) == whole


def test_a_quantised_file_is_saved_as_a_plain_model(tmp_path):
    model = of_family("llama")
    kind = gguf.GGMLQuantizationType.Q8_0
    path = write_gguf(model, byte_tokenizer(bos=True), tmp_path / "small.gguf", kind)
    loaded = load_model(str(path))
    off = (logits(loaded.model) - logits(model)).abs().max()
    assert 0 < off < 0.2  # rounded, and to no worse than 8 bits
    assert gguf_config.file_type(path).startswith("GGUF")
    save_model(loaded, tmp_path / "plain")
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "plain").state_dict()
    assert all(torch.equal(again[key], value) for key, value in loaded.model.state_dict().items())
    assert not hasattr(AutoConfig.from_pretrained(tmp_path / "plain"), "quantization_config")
    assert load_model(str(tmp_path / "plain")).fingerprint == loaded.fingerprint


def test_digits_are_split_where_the_file_names_such_a_rule(tmp_path):
    model, tokenizer = of_family("llama"), byte_tokenizer()
    tokens = {}
    for pre in ("default", "smollm"):
        path = write_gguf(model, tokenizer, tmp_path / f"{pre}.gguf", pre=pre)
        tokens[pre] = load_model(str(path)).tokenizer.tokenize("in 19")
    assert tokens == {"default": ["i", "n", "Ġ", "19"], "smollm": ["i", "n", "Ġ", "1", "9"]}


@pytest.mark.parametrize("content", [b"", b"GGUF\x03\x00\x00\x00", b"no such thing" * 9])
def test_a_file_that_is_none_is_refused(tmp_path, content):
    path = tmp_path / "model.gguf"
    path.write_bytes(content)
    with pytest.raises(SpecError, match=r"model\.gguf"):
        load_model(str(path))


def test_a_folder_names_its_files_where_there_are_several(written, tmp_path):
    written("llama")
    assert load_model(str(tmp_path)).family.name == "llama"
    written("gpt2")
    with pytest.raises(SpecError, match=r"holds 2 GGUF files.*gpt2\.gguf, llama\.gguf"):
        load_model(str(tmp_path))


def test_an_architecture_that_is_not_supported_is_refused(tmp_path):
    path = tmp_path / "other.gguf"
    writer = gguf.GGUFWriter(path, "mamba")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    with pytest.raises(SpecError, match=r"architecture 'mamba'.*safetensors folder"):
        read_model_config(str(path))
