"""The demo at a small size: every arm, one report, a second call that keeps what is finished."""

import json
import os
import subprocess
import sys

import pytest

KEYS = {
    *("schema", "run", "model", "editor", "guard", "edits", "batches", "final", "unedited"),
    *("curve", "seconds", "peak_memory_bytes"),
}
METRICS = {
    *("efficacy", "paraphrase", "neighborhood", "score", "efficacy_exact", "perplexity"),
    *("general", "fact_recall", "weight_norm_ratio", "subspace_overlap", "tail_ratio"),
}


def demo(folder):
    command = [
        "demo",
        "--model",
        "lab",
        "--out",
        str(folder),
        "--edits",
        "20",
        "--batch-size",
        "10",
    ]
    return subprocess.run(
        [sys.executable, "-m", "revive.cli.main", *command],
        env={**os.environ, "HF_HUB_OFFLINE": "1", "COLUMNS": "160"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo") / "out"
    return folder, demo(folder)


def test_every_arm_has_a_summary_with_the_contracts_keys(finished):
    folder, done = finished
    assert done.returncode == 0, done.stderr
    summaries = [json.loads(p.read_text()) for p in sorted(folder.glob("*/summary.json"))]
    assert {s["role"] for s in summaries} == {"baseline", "guarded", "control", "best"}
    for summary in summaries:
        assert summary.keys() >= KEYS
        assert summary["edits"] == 20
        assert summary["final"].keys() >= METRICS
        assert summary["unedited"].keys() >= METRICS
        assert [row["edits"] for row in summary["curve"]] == [10, 20]


def test_progress_names_every_arm_and_the_table_shows_all_of_them(finished):
    folder, done = finished
    labels = [json.loads(p.read_text())["label"] for p in folder.glob("*/summary.json")]
    assert len(labels) >= 4
    for label in labels:
        assert label in done.stderr
        assert label in done.stdout


def test_the_page_is_one_file_that_asks_for_nothing(finished):
    page = (finished[0] / "report" / "index.html").read_text(encoding="utf-8")
    assert "What happened" in page
    assert page.count("<svg") >= 5
    assert "<script" not in page
    assert 'src="http' not in page
    assert "<link" not in page


def test_a_second_call_keeps_the_finished_arms(finished):
    folder, _ = finished
    before = {p: p.stat().st_mtime_ns for p in folder.glob("*/journal.jsonl")}
    assert demo(folder).returncode == 0
    assert before == {p: p.stat().st_mtime_ns for p in folder.glob("*/journal.jsonl")}
