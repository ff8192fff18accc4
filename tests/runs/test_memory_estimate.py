"""What `revive check` says of a run's memory, against what the run took."""

import json
import os
import subprocess
import sys

import pytest
import torch
import yaml
from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from revive.lab import model_path

SHAPES = {
    "llama": lambda: LlamaForCausalLM(
        LlamaConfig(
            vocab_size=8000,
            hidden_size=512,
            intermediate_size=1408,
            num_hidden_layers=16,
            num_attention_heads=8,
            num_key_value_heads=8,
            max_position_embeddings=256,
        )
    ),
    "gpt2": lambda: GPT2LMHeadModel(GPT2Config(n_positions=256)),
}
TOLERANCE = 0.15


def command(folder, *words):
    done = subprocess.run(
        [sys.executable, "-m", "revive.cli.main", *map(str, words)],
        cwd=folder,
        env={**os.environ, "XDG_CACHE_HOME": str(folder / "cache"), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=800,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def told_and_taken(folder, shape, **parts):
    """Peak memory in bytes, as estimated by part, and as measured."""
    torch.manual_seed(0)
    SHAPES[shape]().save_pretrained(folder / "model")
    AutoTokenizer.from_pretrained(str(model_path())).save_pretrained(folder / "model")
    spec = {
        "model": {"name": str(folder / "model"), "device": "cpu", **parts.get("model", {})},
        "edits": {"path": "lab", "limit": 4, "batch_size": 4, **parts.get("edits", {})},
        "editor": {"name": "memit-seq", "steps": 2, "ridge": 1000.0, "contexts": 3}
        | {"context_length": 2, "layers": [4], **parts.get("editor", {})},
        "moments": {"text": "lab", "samples": parts.get("samples", 40)},
        "probes": [{"name": "edits", "sample": 4}],
        "threads": 1,
    }
    (folder / "spec.yaml").write_text(yaml.safe_dump(spec), "utf-8")
    told = command(folder, "check", "spec.yaml", "--json")
    taken = command(folder, "run", "spec.yaml", "--out", "run", "--quiet", "--json")
    print(json.dumps(told["memory"]), told["memory_bytes"] / taken["peak_memory_bytes"])
    return told, taken["peak_memory_bytes"]


def close(told, taken):
    return abs(told["memory_bytes"] / taken - 1) <= TOLERANCE


@pytest.mark.parametrize("shape", SHAPES)
def test_the_estimate_is_what_the_run_takes(shape, tmp_path):
    told, taken = told_and_taken(tmp_path, shape)
    assert close(told, taken)
    standing, working = told["memory"]["standing"], told["memory"]["working"]
    held = sum(standing.values()) + max(v for k, v in working.items() if k != "loading")
    assert told["memory_bytes"] == held
    # Without the program itself, or the model, it would be told.
    for part in ("program", "model"):
        assert not close({"memory_bytes": held - standing[part]}, taken)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shape", "parts"),
    [
        ("llama", {"model": {"dtype": "bfloat16"}, "samples": 10}),
        ("gpt2", {"model": {"dtype": "bfloat16"}, "samples": 10}),
        ("llama", {"edits": {"limit": 48, "batch_size": 48}, "editor": {"layers": [2, 3, 4]}}),
        ("gpt2", {"samples": 2000}),
    ],
    ids=["llama-bf16", "gpt2-bf16", "llama-many-edits", "gpt2-much-text"],
)
def test_and_in_other_runs(shape, parts, tmp_path):
    told, taken = told_and_taken(tmp_path, shape, **parts)
    assert close(told, taken)
