"""`revive check`: where settings come from, published values, and models that no family knows."""

import json

import pytest
import yaml

SIZES = {
    "gpt2-xl": {
        "model_type": "gpt2",
        "architectures": ["GPT2LMHeadModel"],
        **{"n_embd": 1600, "n_layer": 48, "n_head": 25, "vocab_size": 50257},
    },
    "gpt-j-6b": {
        "model_type": "gptj",
        "architectures": ["GPTJForCausalLM"],
        **{"n_embd": 4096, "n_layer": 28, "n_head": 16, "vocab_size": 50400},
    },
    "llama-3-8b": {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        **{"hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32},
        **{"intermediate_size": 14336, "vocab_size": 128256},
    },
    "qwen2.5-7b": {
        "model_type": "qwen2",
        "architectures": ["Qwen2ForCausalLM"],
        **{"hidden_size": 3584, "num_hidden_layers": 28, "num_attention_heads": 28},
        **{"intermediate_size": 18944, "vocab_size": 152064},
    },
    "unknown": {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        **{"hidden_size": 2048, "num_hidden_layers": 20, "num_attention_heads": 16},
        **{"intermediate_size": 8192, "vocab_size": 32000},
    },
}
# method.md, section 3: the papers' and the harness's values.
PUBLISHED = {
    ("gpt2-xl", "memit"): {"layers": [13, 14, 15, 16, 17], "ridge": 20000, "steps": 20, "lr": 0.5},
    ("gpt-j-6b", "memit"): {"layers": [3, 4, 5, 6, 7, 8], "ridge": 15000, "steps": 25, "lr": 0.5},
    ("llama-3-8b", "memit"): {"layers": [4, 5, 6, 7, 8], "ridge": 15000, "steps": 25, "lr": 0.1},
    ("qwen2.5-7b", "memit"): {"layers": [4, 5, 6, 7, 8], "lr": 0.5, "clamp": 4.0},
    ("gpt2-xl", "alphaedit"): {"l2": 10, "null_space": "absolute", "threshold": 0.02},
    ("llama-3-8b", "alphaedit"): {"l2": 10, "null_space": "absolute", "threshold": 0.02},
    ("qwen2.5-7b", "alphaedit"): {"l2": 1, "null_space": "absolute", "threshold": 0.02},
    ("gpt2-xl", "nse"): {"alpha": 35, "upper": 150, "neuron_threshold": 1.0, "ridge": 10000},
    ("gpt-j-6b", "nse"): {"alpha": 15, "upper": 100, "neuron_threshold": 0.8},
    ("llama-3-8b", "nse"): {"alpha": 2.5, "upper": 50, "neuron_threshold": 1.0},
    ("gpt2-xl", "rome"): {"layers": [17], "steps": 20, "clamp": 4.0, "weight_decay": 0.5},
    ("gpt-j-6b", "rome"): {"layers": [5], "steps": 20, "clamp": 4.0, "weight_decay": 0.5},
    ("llama-3-8b", "rome"): {"layers": [5], "steps": 25, "clamp": 4.0, "weight_decay": 1e-3},
    ("gpt-j-6b", "encore"): {"extra_ridge": 10},
    ("llama-3-8b", "encore"): {"extra_ridge": 20},
}


@pytest.fixture
def check(revive, edits, tmp_path):
    def run(model, editor, *args, **config):
        folder = tmp_path / model
        folder.mkdir(exist_ok=True)
        (folder / "config.json").write_text(json.dumps({**SIZES[model], **config}), "utf-8")
        spec = tmp_path / "check.yaml"
        spec.write_text(
            yaml.safe_dump(
                {
                    "model": {"name": str(folder)},
                    "edits": {"path": str(edits)},
                    "editor": editor,
                    "moments": {"text": "lab"},
                }
            )
        )
        return revive("check", spec, *args)

    return run


@pytest.mark.parametrize(("model", "editor"), PUBLISHED)
def test_published_models_get_published_values(check, model, editor):
    ran = check(model, {"name": editor}, "--json")
    assert ran.code == 0, ran.err
    told = json.loads(ran.out)
    for key, value in PUBLISHED[model, editor].items():
        assert told["spec"]["editor"][key] == value, key
        assert told["sources"][key].startswith(f"preset {model} (")


def test_a_model_without_a_preset_gets_the_rule(check):
    ran = check("unknown", {"name": "memit", "steps": 7}, "--json")
    told = json.loads(ran.out)
    assert told["spec"]["editor"]["layers"] == [2, 3, 4, 5]
    assert told["spec"]["editor"]["ridge"] == pytest.approx(819.2)
    # What the spec says itself is not for the trial to change.
    assert told["spec"]["editor"]["fit"] == ["clamp", "ridge"]
    assert told["sources"]["layers"] == "preset rule (by rule, see revive/presets/rule.py)"
    assert told["sources"]["steps"] == "spec"
    assert told["sources"]["ridge"].endswith("tried on a few edits before the first batch")
    assert told["sources"]["stop_loss"] == "default of the editor"


def test_sources_are_told(check):
    ran = check("gpt-j-6b", {"name": "memit", "lr": 0.3})
    assert ran.code == 0
    assert "editor memit, spec: lr" in ran.err
    assert "editor memit, preset gpt-j-6b (published hyper-parameters of MEMIT" in ran.err


def test_an_architecture_that_no_family_knows(check):
    ran = check(
        "unknown", {"name": "memit"}, architectures=["MambaForCausalLM"], model_type="mamba"
    )
    ran.refused(2, "MambaForCausalLM", "no supported layer", "LlamaForCausalLM")
