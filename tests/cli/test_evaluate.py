"""`revive evaluate` with intervals, and `revive list metrics`."""

import json

import pytest
from calling import edit

from revive.metrics.table import METRICS


@pytest.fixture
def stream(tmp_path):
    path = tmp_path / "stream.jsonl"
    path.write_text("".join(json.dumps(edit(n)) + "\n" for n in range(6)), "utf-8")
    return path


def test_metrics_of_edits_come_with_intervals(revive, model, stream):
    ran = revive(
        *("evaluate", model, "--edits", stream, "--limit", 4),
        *("--tasks", "edits,generation", "--device", "cpu", "--json"),
    )
    assert ran.code == 0, ran.err
    found = json.loads(ran.out)
    assert set(found["intervals"]) == set(found["metrics"])
    assert {"efficacy_exact", "fluency", "efficacy_generated"} <= set(found["metrics"])
    for name, (low, high) in found["intervals"].items():
        assert low - 1e-9 <= found["metrics"][name] <= high + 1e-9
    shown = revive("evaluate", model, "--edits", stream, "--tasks", "edits", "--device", "cpu")
    assert shown.code == 0, shown.err
    assert "95 % interval" in shown.out
    assert " to " in shown.out


def test_generation_needs_edits(revive, model):
    revive("evaluate", model, "--tasks", "generation").refused(2, "--edits")


def test_the_metrics_are_listed(revive):
    listed = json.loads(revive("list", "metrics", "--json").out)
    assert [m["name"] for m in listed] == list(METRICS)
    assert all(m["definition"] and m["source"] for m in listed)
    assert "efficacy_exact" in revive("list", "metrics").out
    assert revive("list", "metrics", "--markdown").out.startswith("# Metrics")
    revive("list", "guards", "--markdown").refused(2, "--markdown")
