import json
import math

import pytest

from revive.errors import SpecError
from revive.report.reading.load import load_run, load_runs


def test_reads_what_a_run_folder_holds(make_run):
    folder = make_run("a", guard="revive", order="clustered", seed=7)
    record = load_run(folder)
    assert (record.model, record.editor, record.guard) == ("lab", "memit", "revive")
    assert (record.edits, record.batches, record.order, record.seed) == (2000, 10, "clustered", 7)
    assert record.label == "memit + revive"
    assert record.role == "guarded"
    assert record.value("efficacy") == 0.97
    assert record.value("seconds") == 42.0
    assert record.kept() == pytest.approx(0.78 / 0.8)
    assert [p.edits for p in record.curve] == list(range(200, 2001, 200))
    assert record.sample == 300
    assert "sample" not in record.curve[0].metrics
    assert record.finished


def test_site_accounts_weigh_batches_by_their_energy(make_run):
    site = load_run(make_run("a", guard="revive")).sites[0]
    asked = math.sqrt(sum((1 + 0.1 * step) ** 2 for step in range(1, 11)))
    assert site.asked == pytest.approx(asked)
    assert site.applied == pytest.approx(0.8 * asked)
    assert site.removed == pytest.approx(
        {"uk_vk": 0.08, "uk_rest": 0.06, "rest_vk": 0.12, "rest_rest": 0.0}
    )
    assert site.leak == pytest.approx(2e-7)
    assert site.rank == 12


def test_label_and_role_of_the_summary_win(make_run):
    record = load_run(make_run("a", summary={"label": "A name", "role": "control"}))
    assert (record.label, record.role) == ("A name", "control")


@pytest.mark.parametrize("missing", ["spec.yaml", "journal.jsonl"])
def test_a_folder_without_its_files_is_refused(make_run, missing):
    folder = make_run("a")
    (folder / missing).unlink()
    with pytest.raises(
        SpecError, match=rf"is not a run folder: no {missing}|{missing}: is missing, empty"
    ):
        load_run(folder)


def test_an_absent_folder_is_refused(tmp_path):
    with pytest.raises(SpecError, match="is not a run folder"):
        load_run(tmp_path / "nowhere")


def test_no_folder_is_refused():
    with pytest.raises(SpecError, match="No run folder"):
        load_runs([])


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("summary.json", "{", "is not JSON"),
        ("summary.json", '{"edits": "many"}', r"summary\.json, edits: "),
        ("summary.json", "[1]", "the top level"),
        ("spec.yaml", "a: [", "not valid YAML"),
        ("spec.yaml", "- 1", "holds no spec"),
    ],
)
def test_a_broken_file_is_named_in_one_line(make_run, name, text, message):
    folder = make_run("a")
    (folder / name).write_text(text, encoding="utf-8")
    with pytest.raises(SpecError, match=message) as caught:
        load_run(folder)
    assert "\n" not in str(caught.value)


def test_a_torn_last_line_is_dropped(make_run):
    folder = make_run("a")
    whole = load_run(folder)
    with (folder / "journal.jsonl").open("a", encoding="utf-8") as journal:
        journal.write('{"event": "batch", "edits": ["x')
    assert load_run(folder) == whole


def test_a_broken_line_inside_is_refused(make_run):
    folder = make_run("a")
    path = folder / "journal.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines()
    lines[2] = lines[2][:20]
    path.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(SpecError, match="line 3"):
        load_run(folder)


def test_a_rollback_undoes_later_batches(make_run):
    folder = make_run("a")
    with (folder / "journal.jsonl").open("a", encoding="utf-8") as journal:
        journal.write(
            json.dumps({"event": "rollback", "step": 3, "to": 3, "time": 0, "schema": 1}) + "\n"
        )
    record = load_run(folder)
    assert (record.edits, record.batches, record.finished) == (600, 3, False)
    assert record.curve[-1].edits == 600


def test_a_run_without_a_summary_is_read_from_its_journal(make_run):
    record = load_run(make_run("a", guard="revive", finished=False))
    assert not record.finished
    assert (record.edits, record.batches) == (2000, 10)
    assert record.unedited["general"] == 0.8
    assert record.value("efficacy") == pytest.approx(0.97)
    assert record.sample == 300
    assert record.seconds["targets"] == 20.0
    assert record.value("seconds") == pytest.approx(37.7)


def test_non_finite_numbers_are_numbers(make_run):
    final = {"perplexity": math.inf, "general": math.nan, "efficacy": 0.5, "note": "text"}
    record = load_run(make_run("a", final))
    assert record.value("perplexity") == math.inf
    assert math.isnan(record.value("general"))
    assert record.value("note") is None


def test_a_nearly_empty_summary_is_read(make_run):
    folder = make_run("a")
    (folder / "summary.json").write_text('{"schema": 1}', encoding="utf-8")
    record = load_run(folder)
    assert (record.run, record.model, record.editor) == ("a", "lab", "memit")
    assert record.curve == ()


def test_arms_of_one_name_are_told_apart(make_run):
    records = load_runs([make_run("a"), make_run("b"), make_run("c", guard="revive")])
    assert [r.label for r in records] == ["memit (a)", "memit (b)", "memit + revive"]


def test_failures_carry_their_reasons(make_run):
    failed = [{"id": "e1", "reason": "no subject"}, "e2"]
    record = load_run(make_run("a", failed=failed))
    assert [(f.id, f.reason) for f in record.failed] == [
        ("e1", "no subject"),
        ("e2", "no reason recorded"),
    ]


def test_probes_that_measure_at_one_point_make_one_row(make_run):
    folder = make_run("a", finished=False)
    with (folder / "journal.jsonl").open("a", encoding="utf-8") as journal:
        for metrics, more in (
            ({"efficacy": 0.9}, {"sample": 50, "retention": [{"age_from": 0, "age_to": 9}]}),
            ({"general": 0.7}, {}),
        ):
            event = {
                "event": "measure",
                "step": 10,
                "edits": 2200,
                "metrics": metrics,
                "schema": 1,
                "time": 0,
                "sample": None,
                **more,
            }
            journal.write(json.dumps(event) + "\n")
    record = load_run(folder)
    assert record.curve[-1].metrics == {"efficacy": 0.9, "general": 0.7}
    assert record.sample == 50
    assert record.retention[0].age_to == 9
    assert record.value("paraphrase") == pytest.approx(0.85)
