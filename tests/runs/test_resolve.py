import json
from pathlib import Path
from typing import Any

import pytest

from revive import registry
from revive.apply_edits import SOLVED_UNDER_GUARDS, default_guard
from revive.errors import PrerequisiteError, SpecError
from revive.estimate.estimate import estimate
from revive.presets.facts import model_facts
from revive.presets.rule import layers_by_rule
from revive.presets.table import presets
from revive.spec.parsing import (
    dump_spec,
    editor_options,
    load_spec,
    parse_spec,
    read_model_config,
    resolve,
)
from revive.spec.resolve import text_note

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"

GPT2_XL = {"model_type": "gpt2", "n_embd": 1600, "n_layer": 48, "vocab_size": 50257}
GPT_J = {"model_type": "gptj", "n_embd": 4096, "n_layer": 28, "vocab_size": 50400}
LLAMA3 = {
    "model_type": "llama",
    "hidden_size": 4096,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "intermediate_size": 14336,
    "vocab_size": 128256,
}
SMALL = {
    "model_type": "llama",
    "hidden_size": 64,
    "num_hidden_layers": 5,
    "intermediate_size": 172,
    "vocab_size": 512,
}


def spec(**parts: Any):
    base = {"model": "someone/something", "edits": "lab", "moments": {"text": "lab"}}
    return parse_spec({**base, **parts})


@pytest.mark.parametrize(
    ("config", "name", "layers", "steps", "lr", "ridge"),
    [
        (GPT2_XL, "gpt2-xl", [13, 14, 15, 16, 17], 20, 0.5, 20000.0),
        (GPT_J, "gpt-j-6b", [3, 4, 5, 6, 7, 8], 25, 0.5, 15000.0),
        (LLAMA3, "llama-3-8b", [4, 5, 6, 7, 8], 25, 0.1, 15000.0),
    ],
)
def test_published_models_get_published_settings(
    config: dict[str, Any], name: str, layers: list[int], steps: int, lr: float, ridge: float
):
    resolved = resolve(spec(), config)
    options = editor_options(resolved.editor)
    assert options is not None
    assert resolved.editor.preset == name
    assert (options.layers, options.steps, options.lr) == (layers, steps, lr)
    assert (options.ridge, options.clamp, options.kl_factor) == (ridge, 0.75, 0.0625)


def test_other_models_get_the_rule_and_leave_some_of_it_to_a_trial():
    resolved = resolve(spec(), SMALL)
    options = editor_options(resolved.editor)
    assert options is not None
    assert (resolved.editor.preset, options.layers, options.ridge) == ("rule", [1, 2, 3], 0.1 * 172)
    assert resolved.editor.fit == ["clamp", "steps", "ridge"]
    assert (options.optimizer, options.max_step, options.contexts) == ("polyak", 0.2, 2)


def test_a_llama_of_the_same_size_but_other_vocabulary_is_another_model():
    assert resolve(spec(), {**LLAMA3, "vocab_size": 32000}).editor.preset == "rule"


@pytest.mark.parametrize("blocks", range(1, 100))
@pytest.mark.parametrize("model_type", ["gpt2", "llama"])
def test_the_rule_names_blocks_that_exist(blocks: int, model_type: str):
    facts = model_facts({"model_type": model_type, "hidden_size": 8, "num_hidden_layers": blocks})
    layers = layers_by_rule(facts)
    assert layers == list(range(layers[0], layers[-1] + 1))
    assert layers[0] >= 0
    assert layers[-1] <= max(0, blocks - 2)
    assert len(layers) >= min(3, max(1, blocks - 2))


@pytest.mark.parametrize(
    ("config", "name"), [(GPT2_XL, "gpt2-xl"), (GPT_J, "gpt-j-6b"), (LLAMA3, "llama-3-8b")]
)
def test_the_rule_is_close_to_what_was_published(config: dict[str, Any], name: str):
    published: Any = presets()[name].options["layers"]
    ruled = layers_by_rule(model_facts(config))
    assert abs(ruled[0] - published[0]) <= 1
    assert abs(ruled[-1] - published[-1]) <= 1


def test_what_is_given_beats_the_preset_and_a_preset_can_be_named():
    resolved = resolve(
        spec(editor={"name": "memit", "preset": "gpt2-xl", "lr": 0.3, "layers": [1, 2]}), SMALL
    )
    options = editor_options(resolved.editor)
    assert options is not None
    assert (options.lr, options.layers, options.steps) == (0.3, [1, 2], 20)
    with pytest.raises(SpecError, match=r"unknown preset 'gpt2xl'\. Did you mean 'gpt2-xl'\?"):
        resolve(spec(editor={"name": "memit", "preset": "gpt2xl"}), SMALL)


def test_the_lab_model_gets_its_own_preset_and_corpus():
    resolved = resolve(parse_spec({"model": "lab", "edits": "lab"}), read_model_config("lab"))
    assert (resolved.editor.preset, resolved.moments.text) == ("lab", "lab")
    for key, value in presets()["lab"].options.items():
        assert resolved.editor.settings()[key] == value


def test_a_layer_beyond_the_model_is_refused():
    with pytest.raises(SpecError, match=r"block 7 does not exist; the model has blocks 0 to 4"):
        resolve(spec(editor={"name": "memit", "layers": [1, 7]}), SMALL)


def test_other_models_have_the_text_that_comes_along():
    for editor, told in (("memit-seq", True), ("ultraedit", False)):
        given = parse_spec({"model": "x/y", "edits": "lab", "editor": editor})
        resolved = resolve(given, SMALL)
        assert resolved.moments.text == "package"
        # Said only where it is read, and only of a user who named none.
        assert (text_note(given, resolved) is not None) == told
        assert text_note(resolved, resolved) is None


@pytest.mark.parametrize("config", [SMALL, LLAMA3])
def test_resolving_twice_and_through_a_file_changes_nothing(tmp_path: Path, config: dict[str, Any]):
    text = tmp_path / "a.txt"
    text.write_text("Some text.\n", encoding="utf-8")
    perplexity = {"name": "perplexity", "text": str(text)}
    probes = ["edits", perplexity, {"name": "general", "every": 4}]
    resolved = resolve(spec(probes=probes, edits="e.jsonl"), config)
    assert resolve(resolved, config) == resolved
    path = tmp_path / "spec.yaml"
    path.write_text(dump_spec(resolved), encoding="utf-8")
    assert load_spec(path) == resolved
    assert resolved.probes[0].settings() == {"sample": None, "age_bins": 5}
    assert Path(resolved.edits.path).is_absolute()


def test_a_config_without_sizes_is_refused():
    with pytest.raises(SpecError, match="does not say hidden_size"):
        resolve(spec(), {"model_type": "bert"})


def test_nested_text_configs_are_read():
    facts = model_facts({"model_type": "multi", "text_config": SMALL})
    assert (facts.hidden, facts.blocks) == (64, 5)


def test_configs_come_from_folders(tmp_path: Path):
    with pytest.raises(SpecError, match=r"has no config\.json"):
        read_model_config(str(tmp_path))
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(SpecError, match="not a readable config"):
        read_model_config(str(tmp_path))
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(SpecError, match="expected a JSON object"):
        read_model_config(str(tmp_path))
    (tmp_path / "config.json").write_text(json.dumps(SMALL))
    assert read_model_config(str(tmp_path)) == SMALL


@pytest.mark.parametrize("name", ["./nowhere", "/no/such/model", "a/b/c"])
def test_a_folder_that_is_not_there_is_refused(name: str):
    with pytest.raises(SpecError, match=r"there is no .*; check the path"):
        read_model_config(name)


def test_a_hub_model_that_is_not_cached_says_how_to_fetch_it():
    with pytest.raises(PrerequisiteError, match="hf download nobody/no-such-model"):
        read_model_config("nobody/no-such-model")
    with pytest.raises(
        SpecError, match="neither a folder nor a GGUF file here, nor a hub id, nor one of lab"
    ):
        read_model_config("not a model!")


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared models are not here")
def test_a_real_model_resolves():
    config = read_model_config(str(SHARED / "models" / "stories260K-hf"))
    facts = model_facts(config)
    assert facts.parameters == pytest.approx(260_032, rel=0.1)
    assert resolve(spec(), config).editor.preset == "rule"


@pytest.mark.parametrize(
    ("config", "parameters"), [(GPT2_XL, 1.56e9), (GPT_J, 6.05e9), (LLAMA3, 8.03e9)]
)
def test_sizes_are_close_to_what_they_are(config: dict[str, Any], parameters: float):
    # Norms, biases and learned positions are left out.
    assert model_facts(config).parameters == pytest.approx(parameters, rel=0.02)


def test_estimates_are_of_the_right_order_and_grow():
    resolved = resolve(spec(edits={"path": "lab", "limit": 1000}, threads=2), LLAMA3)
    few, many = (estimate(resolved, LLAMA3, n) for n in (1000, 10_000))
    assert few.memory.standing["model"] == pytest.approx(4 * 8.03e9, rel=0.02)
    assert 32e9 < few.memory_bytes < 100e9
    assert few.batches == 10
    assert many.batches == 100
    assert many.disk_bytes > few.disk_bytes > 1e9
    assert many.seconds > 5 * few.seconds
    assert estimate(resolved, LLAMA3) == few
    small = estimate(resolve(spec(), SMALL), SMALL)
    assert small.memory_bytes < 2e9


def test_which_editors_solve_under_guards_is_known_without_torch():
    names = registry.names("editors")
    told = {n for n in names if registry.load("editors", n).solves_under_guards}
    assert told == SOLVED_UNDER_GUARDS
    assert default_guard("memit-seq")["solve"] == "constrained"
    assert "solve" not in default_guard("ft")
