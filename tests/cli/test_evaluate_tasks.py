"""`revive evaluate --tasks`, the probe `tasks`, and what is said where data are missing."""

import json

import pytest


@pytest.fixture
def data(tmp_path):
    """Three small sets in a folder of their own."""
    folder = tmp_path / "sets"
    (folder / "blimp").mkdir(parents=True)
    pair = {"sentence_good": "The cats sleep.", "sentence_bad": "The cats sleeps."}
    write(folder / "blimp" / "agreement.jsonl", [pair] * 3)
    write(folder / "blimp" / "other.jsonl", [pair] * 3)
    write(folder / "cola.jsonl", [{"sentence": f"It is {n}.", "label": n % 2} for n in range(8)])
    write(folder / "gsm8k.jsonl", [{"question": "1 + 1?", "answer": "#### 2"}])
    return folder


def write(path, records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records), "utf-8")


def test_results_as_json_are_whole_and_alone_on_stdout(revive, model, data):
    ran = revive(
        *("evaluate", model, "--tasks", "blimp,cola,gsm8k", "--data", data, "--limit", 4),
        *("--rule", "both", "--device", "cpu", "--json"),
    )
    assert ran.code == 0, ran.err
    found = json.loads(ran.out)
    rows = {(row["task"], row["rule"]): row for row in found["tasks"]}
    assert list(rows) == [
        ("blimp", "likelihood"),
        ("cola", "likelihood"),
        ("cola", "generation"),
        ("gsm8k", "generation"),
    ]
    blimp = rows["blimp", "likelihood"]
    assert (blimp["count"], blimp["total"], blimp["version"]) == (4, 6, 1)
    assert list(blimp["groups"]) == ["agreement", "other"]
    assert blimp["baselines"]["chance"] == 0.5
    cola = rows["cola", "likelihood"]
    assert cola["count"] == 4
    low, high = cola["intervals"]["accuracy"]
    assert low <= cola["metrics"]["accuracy"] <= high
    assert found["metrics"]["cola_f1_weighted"] == cola["metrics"]["f1_weighted"]
    assert found["metrics"]["cola_generated_readable"] == 0.0


def test_all_takes_what_there_is_and_says_what_is_missing(revive, model, data):
    ran = revive("evaluate", model, "--tasks", "all", "--data", data, "--device", "cpu")
    assert ran.code == 0, ran.err
    missing = [line for line in ran.err.splitlines() if ": no data; expects" in line]
    assert len(missing) == 14
    assert any(line.startswith("lambada: no data; expects lambada_test.jsonl") for line in missing)
    assert "cola" in ran.out
    assert "gsm8k, generated" in ran.out
    assert "minimal_pairs" in ran.out
    assert max(len(line) for line in ran.out.splitlines()) <= 80


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("--tasks", "lambada"), ("lambada: no data; expects lambada_test.jsonl", "--data")),
        (("--tasks", "colla"), ("unknown task 'colla'", "Did you mean 'cola'?", "lm-eval:NAME")),
        (("--tasks", "cola", "--data", "none"), ("none: no such file or folder",)),
        (("--tasks", "cola,all"), ("--tasks all: stands alone",)),
        (("--tasks", "cola", "--rule", "guess"), ("'guess' is not one of 'likelihood'",)),
        (("--data", "."), ("name the tasks with --tasks",)),
    ],
)
def test_mistakes_are_one_line(revive, arguments, parts):
    revive("evaluate", "lab", *arguments).refused(2, *parts)


def test_a_run_measures_tasks(revive, spec, data, tmp_path):
    probe = {"name": "tasks", "tasks": ["blimp", "cola"], "data": str(data), "limit": 4}
    path = spec(edits={"path": str(tmp_path / "edits.jsonl"), "batch_size": 6}, probes=[probe])
    ran = revive("run", path, "--out", "run", "--quiet")
    assert ran.code == 0, ran.err
    lines = (tmp_path / "run" / "journal.jsonl").read_text("utf-8").splitlines()
    measured = [e["metrics"] for e in map(json.loads, lines) if e["event"] == "measure"]
    assert len(measured) == 2
    for metrics in measured:
        assert {"blimp_accuracy", "cola_accuracy", "cola_f1_weighted"} <= set(metrics)
        assert 0 <= metrics["cola_accuracy"] <= 1
    summary = json.loads((tmp_path / "run" / "summary.json").read_text("utf-8"))
    assert summary["final"]["blimp_accuracy"] == measured[1]["blimp_accuracy"]


def test_a_spec_is_checked_for_its_tasks(revive, spec, data):
    def check(**settings):
        return revive("check", spec(probes=[{"name": "tasks", **settings}]))

    ran = check(tasks=["six"], data=str(data))
    ran.refused(2, "probes.tasks: sst2: no data; expects sst2.jsonl")
    check(tasks=["colla"], data=str(data)).refused(2, "Did you mean 'cola'?")
    check(tasks=[], data=str(data)).refused(2, "tasks")
    check(tasks=["cola"], data=str(data), rules="both").refused(2, "rules", "Did you mean 'rule'")
    ran = check(tasks=["cola"], data=str(data.relative_to(data.parent)))
    assert ran.code == 0, ran.err
    assert str(data) in ran.out
    assert "limit: 200" in ran.out
