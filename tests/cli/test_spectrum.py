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
