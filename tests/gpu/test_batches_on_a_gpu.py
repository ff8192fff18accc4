"""A guarded batch on a GPU equals the CPU's; a run on a GPU goes on after a kill."""

import pytest
import torch
import yaml
from pairs import EDITORS, EDITS, engine, relative
from tiny import byte_tokenizer, tiny_model

from revive.guards.revive import Revive
from revive.runs.loop import resume, start
from revive.spec.parsing import load_spec, read_model_config, resolve

GUARDS = {
    "original": Revive(energy=0.2),
    "current": Revive(energy=0.2, basis="current"),
    "constrained": Revive(energy=0.2, solve="constrained"),
    "weighted": Revive(energy=0.2, solve="weighted"),
}


@pytest.mark.parametrize("guard", GUARDS)
@pytest.mark.parametrize("editor", EDITORS)
@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_two_guarded_batches_equal_the_cpu_s(name, editor, guard):
    ends = []
    for device in ("cuda", "cpu"):
        made = engine(name, device, GUARDS[guard], editor)
        for part in (EDITS[:2], EDITS[2:]):
            result = made.apply(part)
            assert len(result.made) == len(part)
            assert all(torch.isfinite(f.left).all() for f in result.updates.values())
        ends.append({k: made.ledger.delta(k) for k in made.ledger.sites})
    for key in ends[0]:
        assert ends[0][key].device.type == "cuda"
        assert relative(ends[0][key], ends[1][key]) <= 1e-5


def test_a_guarded_weight_keeps_its_dominant_directions():
    made = engine("llama", "cuda", Revive(energy=0.2), dtype=torch.float32)
    made.apply(EDITS)
    for key in made.ledger.sites:
        basis = made.guard.basis(key)
        delta = made.ledger.delta(key).double()
        assert float((basis.u.T @ delta).norm() / delta.norm()) <= 1e-5
        assert float((delta @ basis.v).norm() / delta.norm()) <= 1e-5
    free = engine("llama", "cuda", Revive(energy=0.0), dtype=torch.float32)
    free.apply(EDITS)
    key = next(iter(free.ledger.sites))
    delta = free.ledger.delta(key).double()
    assert float((made.guard.basis(key).u.T @ delta).norm() / delta.norm()) > 1e-3


def test_a_run_is_resumed_to_the_same_weights(tmp_path):
    folder = tmp_path / "model"
    tiny_model("llama", dtype=torch.float32).save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    text = tmp_path / "text.txt"
    text.write_text("\n".join(f"Line {n} of ordinary text, as it comes." for n in range(60)))
    edits = tmp_path / "edits.jsonl"
    edits.write_text(
        "\n".join(
            f'{{"id": "{n}", "prompt": "S{n} lives in", "subject": "S{n}", "target_new": "X{n}"}}'
            for n in range(6)
        )
    )
    spec = tmp_path / "spec.yaml"
    data = {
        "model": {"name": str(folder), "device": "cuda"},
        "edits": {"path": str(edits), "batch_size": 2},
        "editor": {"name": "memit-seq", "layers": [0, 1], "ridge": 100.0, "steps": 3, "lr": 0.1},
        "moments": {"text": [str(text)]},
        "checkpoint": {"every": 2},
    }
    spec.write_text(yaml.safe_dump(data))
    resolved = resolve(load_spec(spec), read_model_config(str(folder)))
    calm, killed = tmp_path / "calm", tmp_path / "killed"
    summary = start(resolved, calm)
    assert 0 < summary["peak_gpu_memory_bytes"] <= torch.cuda.max_memory_allocated()
    start(resolved, killed)
    lines = (killed / "journal.jsonl").read_text().splitlines(keepends=True)
    last = max(i for i, line in enumerate(lines) if '"event": "batch"' in line)
    (killed / "journal.jsonl").write_text("".join(lines[:last]))
    (killed / "journal.head").unlink()
    (killed / "summary.json").unlink()
    resume(killed)
    for step in (1, 2, 3):
        name = f"updates/{step:06d}.safetensors"
        assert (killed / name).read_bytes() == (calm / name).read_bytes()
