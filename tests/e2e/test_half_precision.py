"""Runs in bfloat16 and float16: they edit, and what rounding carries into the protected directions
is measured and small, where adding each update in place to the weights is not."""

import json
import math

import pytest
import torch
import yaml
from e2e_runs import journal, run_here

from revive.engine.engine import stored_updates
from revive.linalg.basis import SpectralBasis
from revive.models.loading import DTYPES
from revive.run_folder.store import RunFolder
from revive.runs.rebuild import rebuild
from shared import shared

SUBJECTS = ("dog", "mom", "cat", "bird", "boy", "girl")
TARGETS = ("said", "play", "had", "but")


@pytest.fixture(scope="module", params=["bfloat16", "float16"])
def half(request, tmp_path_factory, corpus):
    """A small pretrained model, one edit a batch, so that there is much to round."""
    folder = tmp_path_factory.mktemp(request.param)
    rows = [
        {"id": s, "prompt": f"One day, the {s}", "subject": s, "target_new": TARGETS[i % 4]}
        for i, s in enumerate(SUBJECTS)
    ]
    (folder / "edits.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows), "utf-8")
    model = {"name": str(shared("data", "models", "stories260K-hf")), "device": "cpu"}
    spec = {
        "model": {**model, "dtype": request.param},
        "edits": {"path": str(folder / "edits.jsonl"), "batch_size": 1},
        "editor": {"name": "memit-seq", "layers": [1, 2], "contexts": 1, "context_length": 3}
        | {"steps": 15, "ridge": 30.0, "clamp": 4.0},
        "probes": [{"name": "edits", "every": len(rows)}],
        "moments": {"text": [str(corpus)]},
        "threads": 1,
    }
    path = folder / "spec.yaml"
    path.write_text(yaml.safe_dump(spec), "utf-8")
    return request.param, folder / "run", run_here(path, folder / "run")


def leak(change, basis):
    """Share of a change's energy in the protected blocks, computed apart from the ledger."""
    change, u, v = change.double(), basis.u, basis.v
    rest = change - u @ (u.T @ change)
    rest = rest - (rest @ v) @ v.T
    return 1 - float(rest.square().sum() / change.square().sum())


def test_edits_succeed_and_nothing_is_nan(half):
    _, folder, summary = half
    assert summary["failed"] == 0
    assert summary["unedited"]["efficacy_exact"] < 0.2
    assert summary["final"]["efficacy_exact"] > 0.7
    for event in (e for e in journal(folder) if e["event"] == "batch"):
        numbers = [*event["notes"].values()]
        numbers += [n for s in event["sites"].values() for n in (s["asked"], s["applied"])]
        assert all(math.isfinite(n) for n in numbers)


def test_the_journal_tells_the_leak_of_every_write(half):
    dtype, folder, _ = half
    batches = [e for e in journal(folder) if e["event"] == "batch"]
    leaks = [site["leak"] for e in batches for site in e["sites"].values()]
    assert len(batches) == len(SUBJECTS)
    # Of updates that are small beside the weight: an eighth as many digits in bfloat16.
    assert all(0 < value < {"bfloat16": 0.2, "float16": 0.005}[dtype] for value in leaks)
    print(dtype, max(leaks), sum(leaks) / len(leaks), half[2]["final"])
    assert all(site["rank"] > 0 for e in batches for site in e["sites"].values())


def test_in_place_addition_leaks_more_and_loses_more(half):
    """The negative control: the same guarded updates, added to the rounded weight one by one."""
    dtype, folder, _ = half
    rebuilt = rebuild(folder)
    run = RunFolder.open(folder)
    for key, site in rebuilt.ledger.sites.items():
        assert not site.transposed
        start = rebuilt.ledger.original(key).to(DTYPES[dtype])
        basis = SpectralBasis.fit(start.float(), energy=0.1)
        assert basis.rank > 0
        naive = start.clone()
        for step in range(1, rebuilt.step + 1):
            naive += stored_updates(run.load_update(step))[key].dense().to(DTYPES[dtype])
        ours = rebuilt.loaded.model.get_parameter(key).detach()
        asked = rebuilt.ledger.delta(key)
        changes = {"ours": ours.float() - start.float(), "naive": naive.float() - start.float()}
        leaks = {name: leak(change, basis) for name, change in changes.items()}
        lost = {name: float((c - asked).norm() / asked.norm()) for name, c in changes.items()}
        assert leak(asked, basis) < 1e-9
        assert leaks["naive"] > 1.5 * leaks["ours"]
        assert lost["naive"] > 1.2 * lost["ours"]
        assert torch.equal(ours, (rebuilt.ledger.original(key) + asked).to(DTYPES[dtype]))
        print(dtype, key, leaks, lost)
