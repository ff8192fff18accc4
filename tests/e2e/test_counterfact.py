"""CounterFact through `revive run` on the lab model: what the run folder holds afterwards."""

import json

import pytest
import yaml
from e2e_runs import batches, journal, revive
from safetensors.torch import load_file

from revive.linalg.basis import SpectralBasis
from revive.linalg.lowrank import LowRank
from revive.runs.rebuild import finish_model
from shared import shared

PHASES = {"targets", "keys", "solve", "guard", "write"}
SUMMARY = {"schema", "run", "model", "editor", "guard", "edits", "batches", "final", "unedited"}
SUMMARY |= {"curve", "seconds", "peak_memory_bytes"}
METRICS = {"efficacy", "efficacy_exact", "paraphrase", "paraphrase_exact", "neighborhood", "score"}
METRICS |= {"weight_norm_ratio", "subspace_overlap", "tail_ratio"}
IN_UNITS = {"weight_norm_ratio", "tail_ratio"}


@pytest.fixture(scope="module")
def counterfact_run(tmp_path_factory):
    """Eight edits in two batches: the folder, and what the command printed."""
    edits = shared("data", "counterfact", "counterfact_exact_1000.json")
    folder = tmp_path_factory.mktemp("counterfact")
    spec = {
        "model": {"name": "lab", "device": "cpu"},
        "edits": {"path": str(edits), "limit": 8, "batch_size": 4, "on_conflict": "last"},
        "editor": {"name": "memit-seq", "layers": [0, 1], "steps": 2, "contexts": 0, "ridge": 1e4},
        "guard": {"name": "revive"},
        "probes": [{"name": "edits", "every": 2, "sample": 4}, {"name": "spectrum", "every": 2}],
        "moments": {"samples": 60},
        "threads": 1,
    }
    (folder / "spec.yaml").write_text(yaml.safe_dump(spec), "utf-8")
    done = revive("run", folder / "spec.yaml", "--out", folder / "run", "--json")
    return folder / "run", json.loads(done.stdout)


def test_the_summary_is_the_documented_one(counterfact_run):
    folder, printed = counterfact_run
    summary = json.loads((folder / "summary.json").read_text("utf-8"))
    assert printed == summary
    assert set(summary) >= SUMMARY
    assert (summary["schema"], summary["edits"], summary["batches"]) == (1, 8, 2)
    assert (summary["model"], summary["editor"], summary["guard"]) == ("lab", "memit-seq", "revive")
    for measured in (summary["final"], summary["unedited"]):
        assert set(measured) >= METRICS
        assert all(0 <= measured[key] <= 1 for key in METRICS - IN_UNITS)
    assert summary["unedited"]["weight_norm_ratio"] == 1
    assert summary["final"]["weight_norm_ratio"] != 1
    assert [row["edits"] for row in summary["curve"]] == [8]
    seconds = dict(summary["seconds"])
    assert set(seconds) == {"total", "probe", *PHASES}
    assert seconds.pop("total") == pytest.approx(sum(seconds.values()))
    assert summary["peak_memory_bytes"] > 100_000_000


def test_every_batch_is_accounted_for(counterfact_run):
    folder, _ = counterfact_run
    edits = json.loads(shared("data", "counterfact", "counterfact_exact_1000.json").read_text())
    made = [i for e in batches(folder) for i in e["edits"]]
    assert len(made) == len(set(made)) == 8
    assert all(str(edits[n]["case_id"]) in made[n] for n in range(8))
    for event in (e for e in journal(folder) if e["event"] == "batch"):
        assert set(event["seconds"]) == PHASES
        assert event["made"] == event["edits"]
        assert len(event["sites"]) == 2
        for site in event["sites"].values():
            assert set(site) == {"asked", "applied", "removed", "leak", "rank"}
            removed = site["removed"]
            assert set(removed) == {"uk_vk", "uk_rest", "rest_vk", "rest_rest"}
            assert 0 < site["applied"] < site["asked"]
            kept = 1 - sum(removed.values())
            assert (site["applied"] / site["asked"]) ** 2 == pytest.approx(kept, rel=1e-3)
            assert site["leak"] < 1e-9
            assert site["rank"] > 0


def test_the_protected_blocks_of_what_was_written_are_empty(counterfact_run):
    folder, _ = counterfact_run
    original = finish_model(folder, 0).model
    for step in (1, 2):
        stored = load_file(folder / "updates" / f"{step:06d}.safetensors")
        for key in batches(folder)[0]["sites"]:
            basis = SpectralBasis.fit(original.get_parameter(key), energy=0.1)
            shares = basis.block_shares(LowRank(stored[f"left|{key}"], stored[f"right|{key}"]))
            assert max(shares.uk_vk, shares.uk_rest, shares.rest_vk) < 1e-10
            assert shares.rest_rest > 0.999
