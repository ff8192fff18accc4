"""Loading holds one copy of a checkpoint; reading one weight of it holds hardly anything."""

import json
import subprocess
import sys

import pytest
import torch
from safetensors.torch import save_file
from tiny import byte_tokenizer, tiny_model
from transformers import LlamaConfig, LlamaForCausalLM

from revive.runs.environment import peak_memory

SIZE = 300e6

# Peaks only grow: what takes least is measured first.
MEASURE = """
import json, sys
from revive.models.fingerprint import model_fingerprint
from revive.models.ledger import Ledger
from revive.models.loading import ON_DISK, load_model
from revive.runs.environment import peak_memory as peak

tiny, large = sys.argv[1:]
load_model(tiny, device="cpu")
load_model(tiny, device_map=ON_DISK, edited=[1])
found = [peak()]
lazy = load_model(large, device_map=ON_DISK, edited=[2])
Ledger(lazy.model, [lazy.family.site(lazy.model, 2)])
found.append(peak())
whole = load_model(large, device="cpu")
again = model_fingerprint(whole.model)  # reads it all; what is kept of a folder reads nothing
found.append(peak())
# Touched by writing, a mapped page becomes the process's own.
for parameter in whole.model.parameters():
    parameter.data.add_(1.0)
found.append(peak())
print(json.dumps({"same": lazy.fingerprint == again, "peaks": found}))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="mapped files count otherwise elsewhere")
def test_peaks_of_loading(tmp_path):
    config = LlamaConfig(
        vocab_size=4096,
        hidden_size=768,
        intermediate_size=2048,
        num_hidden_layers=10,
        num_attention_heads=12,
        architectures=["LlamaForCausalLM"],
    )
    with torch.device("meta"):
        bare = LlamaForCausalLM(config)
    weights = {n: torch.zeros(p.shape) for n, p in bare.named_parameters()}
    size = sum(w.nbytes for w in weights.values())
    assert size > SIZE
    for folder in ("tiny", "large"):
        byte_tokenizer(bos=True).save_pretrained(tmp_path / folder)
    config.save_pretrained(tmp_path / "large")
    save_file(weights, tmp_path / "large" / "model.safetensors", {"format": "pt"})
    tiny_model("llama", dtype=torch.float32).save_pretrained(tmp_path / "tiny")
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(tmp_path / "tiny"), str(tmp_path / "large")],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    base, lazy, whole, written = told["peaks"]
    assert told["same"]
    assert (lazy - base) / size < 0.2
    assert 0.8 < (whole - base) / size < 1.1, "one copy, and the measure can tell"
    assert (written - base) / size < 1.2
    print([round((x - base) / size, 3) for x in (lazy, whole, written)])


def test_a_peak_is_the_process_s_own():
    """A child that uses little, of a parent that has used much, has used little."""
    ballast = torch.ones(75_000_000)
    code = "from revive.runs.environment import peak_memory; print(peak_memory())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 600e6
    assert peak_memory() > ballast.nbytes + 300e6
