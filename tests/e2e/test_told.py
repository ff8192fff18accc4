"""An edit that did not take is said in words: by `edit`, `run`, `report` and `evaluate`."""

import csv
import json
import subprocess
import sys

import pytest
import torch
from e2e_runs import cut_after, journal, revive, rewrite_journal, run_here

from revive.models.loading import load_model
from revive.report.page import write_report
from revive.run_folder.edit_table import read_table
from revive.runs import final_answers as run_answers
from revive.runs.loop import resume
from revive.runs.rebuild import finish_model
from revive.runs.rollback import rollback_edit

FACTS = (
    ("network", "{} premiered on", "Pawn Stars", "HBO", "The original network of Pawn Stars is"),
    ("owner", "{} is the property of", "Mona Lisa", "Leonardo", "The owner of Mona Lisa is"),
    ("base", "The founders of {} met in", "Stonegard", "Atlanta", "The founders of Stonegard are"),
)


def greedy(model, tokenizer, prompt, count):
    """The continuation by stock transformers, one prompt alone."""
    ids = tokenizer(prompt, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        out = model.generate(
            ids, max_new_tokens=count, do_sample=False, attention_mask=torch.ones_like(ids)
        )
    return tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True).strip()


def read_csv(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def facts(tmp_path_factory):
    path = tmp_path_factory.mktemp("facts") / "facts.jsonl"
    keys = ("id", "prompt", "subject", "target_new")
    rows = [{**dict(zip(keys, f, strict=False)), "paraphrases": [f[4]]} for f in FACTS]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


@pytest.fixture(scope="module")
def taken(facts, tmp_path_factory):
    """Three edits of the lab model with all settings as they come, and what was printed."""
    out = tmp_path_factory.mktemp("taken") / "edited"
    return out, revive("edit", "lab", facts, "--out", out, "--quiet")


@pytest.fixture(scope="module")
def missed(facts, tmp_path_factory):
    """The same with a single look at the loss, so that no target moves."""
    out = tmp_path_factory.mktemp("missed") / "edited"
    one = ("--set", "editor.steps=1")
    return out, revive("edit", "lab", facts, "--out", out, "--quiet", *one)


def test_edits_that_cannot_take_are_told(missed):
    out, done = missed
    assert "0 of 3 edits answer with the new target" in done.stdout
    assert "3 of 3 edits do not answer with the new target; a larger editor." in done.stderr
    assert "failed" not in done.stdout + done.stderr
    for _, _, subject, target, _ in FACTS:
        assert subject.split()[0] in done.stdout
        assert target in done.stdout
    rows = read_csv(out.with_name("edited.run") / "edits.csv")
    assert [row["id"] for row in rows] == [fact[0] for fact in FACTS]
    for row in rows:
        assert (row["reached"], row["cause"], row["paraphrases"]) == ("False", "unsolved", "1")
        assert "its target was not solved (loss " in row["reason"]
        assert row["before"] == row["now"] != ""


def test_edits_that_took_are_counted_and_shown(taken, facts):
    out, done = taken
    assert "3 of 3 edits answer with the new target" in done.stdout
    assert "do not answer" not in done.stderr
    rows = read_csv(out.with_name("edited.run") / "edits.csv")
    before = load_model("lab")
    # What was saved is rounded to the base's dtype: not what the run itself has asked.
    after = finish_model(out.with_name("edited.run"))
    tokenizer = after.tokenizer
    for row, (_, prompt, subject, target, _) in zip(rows, FACTS, strict=True):
        text = prompt.replace("{}", subject)
        assert (row["prompt"], row["reached"], row["reason"]) == (text, "True", "")
        count = 4 + len(tokenizer(f" {target}", add_special_tokens=False)["input_ids"])
        assert row["now"] == greedy(after.model, tokenizer, text, count)
        assert row["before"] == greedy(before.model, before.tokenizer, text, count)
        assert row["now"].startswith(target)
        assert not row["before"].startswith(target)
    summary = json.loads((out.with_name("edited.run") / "summary.json").read_text("utf-8"))
    assert summary["answers"] == {"edits": 3, "asked": 3, "reached": 3}
    assert "3 of 3 edits answer with the new target." in (out / "README.md").read_text("utf-8")


def test_a_report_has_the_table(missed, taken, tmp_path):
    run = missed[0].with_name("edited.run")
    done = revive("report", run, "--out", tmp_path / "one")
    assert "0 of 3 edits answer with the new target" in done.stderr
    page = (tmp_path / "one" / "index.html").read_text("utf-8")
    assert "Edit by edit" in page
    assert "its target was not solved (loss" in page
    assert "Every edit was written; whether it took is told edit by edit." in page
    assert (tmp_path / "one" / "edits.csv").read_bytes() == (run / "edits.csv").read_bytes()
    table = (tmp_path / "one" / "edits.md").read_text("utf-8").splitlines()
    assert "0 of 3 edits answer" in table[0]
    assert len({line.count("|") for line in table[2:] if line}) == 1
    write_report([run, taken[0].with_name("edited.run")], tmp_path / "two", title="t")
    rows = read_csv(tmp_path / "two" / "edits.csv")
    assert [row["reached"] for row in rows] == ["False"] * 3 + ["True"] * 3
    assert len({row["arm"] for row in rows}) == 2


def test_evaluate_saves_and_prints_the_table(taken, facts, tmp_path):
    out, _ = taken
    common = ("evaluate", out, "--edits", facts, "--tasks", "edits", "--quiet", "--per-edit")
    done = revive(*common, tmp_path / "table.csv")
    assert "3 of 3 edits answer with the new target" in done.stdout
    assert "HBO" in done.stdout
    rows = read_csv(tmp_path / "table.csv")
    told = json.loads(revive(*common, tmp_path / "table.json", "--json").stdout)
    assert told["answers"] == {"edits": 3, "asked": 3, "reached": 3}
    table = json.loads((tmp_path / "table.json").read_text("utf-8"))
    assert table["reached"] == 3
    saved = load_model(str(out))
    for row, plain, (_, _, _, target, _) in zip(rows, table["rows"], FACTS, strict=True):
        count = 4 + len(saved.tokenizer(f" {target}", add_special_tokens=False)["input_ids"])
        said = greedy(saved.model, saved.tokenizer, row["prompt"], count)
        assert row["now"] == plain["now"] == said
        assert (row["reached"], plain["reached"], plain["before"]) == ("True", True, None)
        assert row["paraphrases_reached"] == str(plain["paraphrases_reached"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--per-edit", "t.txt"), "neither .csv nor .json"),
        (("--per-edit", "nowhere/t.csv"), "a folder there is"),
        (("--per-edit", "t.csv", "--tasks", "general"), "no edits are measured"),
    ],
)
def test_a_table_that_cannot_be_saved_is_refused_first(facts, arguments, words):
    tail = arguments if "--tasks" in arguments else (*arguments, "--edits", str(facts))
    done = subprocess.run(
        [sys.executable, "-m", "revive.cli.main", "evaluate", "lab", *tail],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr


def test_markup_and_escape_sequences_are_shown_as_they_are(tmp_path, taken):
    edits = tmp_path / "edits.jsonl"
    row = {"id": "[red]x", "prompt": "[bold]Ada[/bold] said\x1b[31m", "subject": "Ada"}
    edits.write_text(json.dumps({**row, "target_new": "[/] \x07no"}) + "\n", "utf-8")
    done = revive(
        *("evaluate", taken[0], "--edits", edits, "--tasks", "edits", "--quiet"),
        env=wide_environment(),
    )
    assert "[bold]Ada[/bold] said\\x1b[31m" in done.stdout
    assert "[/] \\x07no" in done.stdout
    assert "\x1b" not in done.stdout
    assert "\x07" not in done.stdout


def wide_environment():
    """A terminal's width in which no cell of these tests breaks."""
    import os

    return {**os.environ, "COLUMNS": "200"}


def test_a_guard_that_takes_an_edit_out_is_named(facts, tmp_path):
    out = tmp_path / "edited"
    strict = ("--set", "guard.energy=0.9", "--set", "guard.solve=posthoc")
    done = revive("edit", "lab", facts, "--out", out, "--quiet", *strict)
    rows = read_csv(tmp_path / "edited.run" / "edits.csv")
    blamed = [row for row in rows if row["cause"] == "withheld"]
    assert blamed
    assert all("% of its update" in row["reason"] and row["reached"] == "False" for row in blamed)
    assert "a smaller guard.energy" in done.stderr


def test_a_killed_run_ends_with_the_same_table(calm_run, run_folder):
    wanted = (calm_run / "edits.json").read_bytes()
    cut_after(run_folder, "batch", 3)
    assert not (run_folder / "edits.json").exists()
    resume(run_folder)
    assert (run_folder / "edits.json").read_bytes() == wanted
    assert (run_folder / "edits.csv").read_bytes() == (calm_run / "edits.csv").read_bytes()


def test_before_is_what_the_unedited_model_says(calm_run, tiny_folder):
    base = load_model(str(tiny_folder))
    rows = read_table(calm_run).rows
    assert len(rows) == 13
    for row in rows:
        count = 4 + len(base.tokenizer(f" {row.target_new}", add_special_tokens=False)["input_ids"])
        assert row.before == greedy(base.model, base.tokenizer, row.prompt, count)


def test_a_run_that_measures_nothing_has_the_table_too(write_spec, tmp_path):
    folder = tmp_path / "run"
    summary = run_here(write_spec(edits=3, probes=[]), folder)
    table = read_table(folder)
    assert table.counts() == summary["answers"]
    assert (table.edits, table.asked, len(table.rows)) == (3, 3, 3)
    assert all(row.now is not None and row.before is not None for row in table.rows)


def test_of_many_edits_some_answers_are_written_out(write_spec, tmp_path, monkeypatch):
    monkeypatch.setattr(run_answers, "ANSWERED", 3)
    monkeypatch.setattr(run_answers, "ALL", 0)
    folder = tmp_path / "run"
    run_here(write_spec(edits=8, probes=[{"name": "edits", "every": 9, "sample": 6}]), folder)
    table = read_table(folder)
    assert (table.edits, table.asked) == (8, 6)
    assert sum(row.now is not None for row in table.rows) == 3
    assert table.note == "Answers are written out for 3 edits, those that did not take first."
    assert "of 6 edits that were measured answer with the new target (8 stand)" in table.headline()


def test_a_terminal_shows_some_rows_and_says_where_the_others_are(write_spec, tmp_path):
    spec = write_spec(edits=25, probes=[], editor={"steps": 1})
    done = revive("run", spec, "--out", tmp_path / "run", "--quiet", env=wide_environment())
    assert done.stdout.count(" lives in") == 20
    assert f"20 of 25 edits are shown, those that did not take first; {tmp_path}" in done.stderr
    assert len(read_csv(tmp_path / "run" / "edits.csv")) == 25


def test_an_edit_that_was_taken_out_is_told_until_it_is_asked_again(run_folder):
    rollback_edit(run_folder, "home-4", measure=False)
    table = read_table(run_folder)
    row = next(row for row in table.rows if row.id == "home-4")
    assert (row.cause, row.now, row.reached) == ("removed", None, None)
    assert "before 1 edit went out" in table.note
    assert (table.edits, table.asked) == (12, 12)
    summary = resume(run_folder)
    again = read_table(run_folder)
    assert "home-4" not in {row.id for row in again.rows}
    assert (again.note, summary["answers"]) == ("", again.counts())
    assert again.edits == 12


def test_a_run_of_an_older_version_is_still_told(run_folder, tmp_path):
    """Ids, whether they answer, and no texts: that is all there was."""
    whole = {row.id: row for row in read_table(run_folder).rows}
    for name in ("edits.json", "edits.csv"):
        (run_folder / name).unlink()
    new = ("unsolved", "withheld", "answers")
    lines = [{k: v for k, v in e.items() if k not in new} for e in journal(run_folder)]
    rewrite_journal(run_folder, lines)
    table = read_table(run_folder)
    assert table.edits == 13
    assert "An older version" in table.note
    measured = [row for row in table.rows if row.reached is not None]
    assert len(measured) == 4  # the probe's sample
    assert all(row.reached == whole[row.id].reached for row in measured)
    page = write_report([run_folder], tmp_path / "out", title="t").read_text("utf-8")
    assert "of 4 edits that were measured answer" in page


def test_a_run_that_is_not_over_is_told_as_far_as_it_got(run_folder):
    cut_after(run_folder, "measure", 3)
    table = read_table(run_folder)
    assert "The run is not over" in table.note
    assert (table.edits, table.asked) == (6, 4)
    assert any(row.cause == "unsolved" for row in table.rows)
