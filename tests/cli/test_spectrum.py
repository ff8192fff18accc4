"""`revive spectrum` on a tiny model: tables, figures, a page; it goes on where it was."""

import json

import pytest
from calling import events, files

LAYERS = ("--layers", "1", "--bands", "2", "--draws", "2")


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "sea.txt"
    path.write_text("The ship left the harbour at dawn. Nobody saw it come back.\n" * 20, "utf-8")
    return path


def test_both_studies_and_what_they_leave(revive, model, text, tmp_path):
    arguments = ("spectrum", model, *LAYERS, "--text", text, "--study", "reconstruct,perturb")
    ran = revive(*arguments, "--markdown")
    assert ran.code == 0, ran.err
    assert "**Do the large singular values carry the ability?**" in ran.out
    assert "| log_likelihood_sea |" in ran.out
    assert "**Which bands does fact_log_likelihood hang on?**" in ran.out
    assert ran.err.splitlines()[-1] == "page: spectrum/index.html"
    written = files(tmp_path / "spectrum")
    assert {"index.html", "reconstruct.jsonl", "perturb.jsonl"} <= set(written)
    assert "figures/perturb-log_likelihood_sea-energy.png" in written
    assert "figures/reconstruct-general.svg" in written
    assert "perturb-fact_recall.csv" in written
    again = revive(*arguments, "--json", "--quiet")
    assert (again.code, again.err) == (0, "")
    assert files(tmp_path / "spectrum") == written
    found = json.loads(again.out)
    assert list(found) == ["reconstruct", "perturb"]
    assert found["reconstruct"][0]["title"] in ran.out


@pytest.fixture
def reviews(tmp_path):
    """SST-2 and LAMBADA in their public formats."""
    folder = tmp_path / "data"
    (folder / "lambada").mkdir(parents=True)
    (folder / "sst2.jsonl").write_text(json.dumps({"sentence": "a fine film", "label": 1}) + "\n")
    texts = [json.dumps({"text": f"the {n} ran and ran to the {n}"}) for n in ("dog", "cat", "cow")]
    (folder / "lambada" / "lambada_test.jsonl").write_text("\n".join(texts) + "\n")
    return folder


def test_public_test_sets_are_abilities_too(revive, model, reviews, tmp_path):
    arguments = ("spectrum", model, *LAYERS, "--quiet", "--tasks", "sst2,lambada")
    arguments += ("--study", "reconstruct")
    whole = (*arguments, "--data", reviews, "--json")
    ran = revive(*whole)
    assert ran.code == 0, ran.err
    tables = json.loads(ran.out)
    verdicts = {row[0]: row for row in tables["reconstruct"][0]["rows"]}
    assert {"general", "sst2_accuracy", "lambada_accuracy"} <= set(verdicts)
    # A single item says nothing: whether it is right may be chance.
    assert verdicts["sst2_accuracy"][-1] == "no effect"
    alone = revive("evaluate", model, "--tasks", "sst2,lambada", "--data", reviews, "--json")
    measured = json.loads(alone.out)["metrics"]
    points = (tmp_path / "spectrum" / "reconstruct.jsonl").read_text("utf-8").splitlines()
    intact = next(p for p in map(json.loads, points[1:]) if p["point"] == "intact")["values"]
    for task in ("sst2_accuracy", "lambada_accuracy"):
        assert intact[task] == measured[task]
    revive(*whole, "--items", "2").refused(2, "measures differ")


def test_drift_of_a_users_model_over_a_users_edits(revive, model, edits, text, tmp_path):
    ran = revive(
        *("spectrum", model, "--study", "drift", "--edits", edits, "--text", text),
        *("--limit", "32", "--seeds", "2", "--quiet"),
    )
    assert ran.code == 0, ran.err
    runs = sorted(p.name for p in (tmp_path / "spectrum" / "runs").iterdir() if p.is_dir())
    assert runs == ["memit_none_s0", "memit_none_s1", "memit_revive_s0", "memit_revive_s1"]
    assert events(tmp_path / "spectrum" / "runs" / runs[0]).count("batch") == 1
    assert "When 5% of general ability is lost" in ran.out
    assert (tmp_path / "spectrum" / "figures" / "drift-overlap_left.png").is_file()


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("--study", "reconstuct"), ("unknown study 'reconstuct'", "reconstruct")),
        (("--study", ","), ("name at least one",)),
        (("--study", "drift"), ("--runs", "--edits")),
        (("--layers", "one"), ("--layers", "'one'")),
        (("--layers", "7"), ("block 7 does not exist",)),
        (("--text", "nowhere.txt"), ("cannot read nowhere.txt",)),
        (("--study", "drift", "--runs", "nowhere"), ("nowhere",)),
        (("--study", "drift", "--runs", "x", "--tasks", "sst2"), ("drift has no use",)),
        (("--tasks", "sst3"), ("Unknown task 'sst3'", "sst2")),
        (("--tasks", "sst2"), ("sst2: no data; expects", "--data")),
        (("--data", "nowhere"), ("name the tasks with --tasks",)),
    ],
)
def test_what_is_refused(revive, model, arguments, parts):
    ran = revive("spectrum", model, "--quiet", *arguments)
    ran.refused(2, *parts)


def test_points_of_other_settings_are_refused(revive, model, text):
    base = ("spectrum", model, "--study", "reconstruct", "--quiet")
    assert revive(*base, *LAYERS).code == 0
    revive(*base, *LAYERS, "--layers", "0").refused(2, "another study: sites differ", "--out")
    revive(*base, *LAYERS, "--text", text).refused(2, "measures differ")
