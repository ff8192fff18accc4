"""Edit files that cannot be used are refused with file, line and reason, before any work."""

import json

import pytest
from calling import edit, files, write_edits

BROKEN = {
    "not JSON": ('{"prompt": "Ada lives in", "subject": "Ada"', "not valid JSON"),
    "no object": ('["Ada lives in", "Ada", "Rome"]', "expected an object"),
    "no subject": (json.dumps({"prompt": "Ada is", "target_new": "x"}), "subject"),
    "empty target": (json.dumps(edit(1, target_new="  ")), "target_new is empty"),
    "empty prompt": (json.dumps(edit(1, prompt="")), "prompt is empty"),
    "subject elsewhere": (
        json.dumps(edit(1, prompt="boris lives in")),
        "subject 'Boris' is not in the prompt 'boris lives in', though it is with other upper "
        "and lower case; write it there exactly, or put {} in its place",
    ),
    "id taken": (json.dumps(edit(1, id="home-0")), "id 'home-0' is taken by"),
}


@pytest.mark.parametrize("command", ["run", "check", "edit"])
def test_a_missing_edit_file(revive, spec, model, tmp_path, command):
    missing = tmp_path / "none.jsonl"
    path = spec(edits={"path": str(missing)})
    given = {
        "run": (path, "--out", "out", "--quiet"),
        "check": (path,),
        "edit": (model, missing, "--out", "out", "--text", "corpus.txt", "--quiet"),
    }[command]
    revive(command, *given).refused(2, f"{missing}: no such file; check the path")
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "out.run").exists()


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_line_is_named(revive, spec, edits, tmp_path, name):
    line, reason = BROKEN[name]
    edits.write_text(f"{json.dumps(edit(0))}\n\n{line}\n{json.dumps(edit(2))}\n", "utf-8")
    before = files(tmp_path)
    ran = revive("run", spec(), "--out", "out", "--quiet")
    ran.refused(2, f"{edits}, line 3: ", reason)
    assert "\n" not in ran.line
    assert not (tmp_path / "out").exists()
    assert before.items() <= files(tmp_path).items()


def test_a_folder_an_empty_file_and_other_text_are_no_edits(revive, spec, tmp_path):
    empty, prose = tmp_path / "empty.jsonl", tmp_path / "prose.txt"
    empty.write_text("\n \n", "utf-8")
    prose.write_text("Ada lives in Rome.\n", "utf-8")
    for path, reason in ((tmp_path, "is a folder"), (empty, "is empty"), (prose, "neither JSON")):
        ran = revive("run", spec(edits={"path": str(path)}), "--out", "out", "--quiet")
        ran.refused(2, str(path), reason)


def test_text_that_is_not_utf8_is_named_by_line(revive, spec, edits):
    edits.write_bytes(json.dumps(edit(0)).encode() + b"\n" + b'{"prompt": "\xff"}\n')
    revive("check", spec()).refused(2, f"{edits}, line 2: not UTF-8", "save the file as UTF-8")


@pytest.fixture
def contradicting(edits):
    return write_edits(edits, *(edit(n) for n in range(3)), edit(0, id="again", target_new="Bonn"))


def test_contradicting_edits_are_refused(revive, spec, contradicting, tmp_path):
    ran = revive("run", spec(), "--out", "out", "--quiet")
    ran.refused(2, f"{contradicting}, line 4", "line 1 says 'Rome'", "--on-conflict last")
    assert not (tmp_path / "out").exists()


def test_the_last_of_contradicting_edits_wins_when_asked(
    revive, spec, model, contradicting, tmp_path
):
    spec()  # for its corpus
    options = ["editor.layers=[0, 1]", "editor.ridge=10", "editor.steps=2", "editor.contexts=0"]
    ran = revive(
        *("edit", model, contradicting, "--out", "out", "--on-conflict", "last", "--quiet"),
        *("--text", "corpus.txt", "--json", "--set", "model.device=cpu"),
        *(part for option in options for part in ("--set", option)),
    )
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["edits"] == 3
    assert "replaced by a later one for the same subject and prompt: 1" in ran.err
    journal = (tmp_path / "out.run" / "journal.jsonl").read_text("utf-8").splitlines()
    batch = next(e for e in map(json.loads, journal) if e["event"] == "batch")
    assert batch["edits"] == ["home-1", "home-2", "again"]
    revive("edit", model, contradicting, "--out", "b", "--on-conflict", "frist").refused(
        2, "on_conflict", "'frist' is not one of error, last"
    )


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_an_edit_longer_than_the_model_takes_fails_alone_and_is_named(
    revive, spec, edits, short_models, tmp_path, family
):
    long = "A" * 80
    write_edits(edits, edit(0), edit(1, subject=long, prompt=f"{long} lives in"), edit(2), edit(3))
    ran = revive("run", spec(model=str(short_models[family])), "--out", "out", "--quiet", "--json")
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["failed"] == 1
    assert "1 of 4 edits could not be made" in ran.err
    journal = (tmp_path / "out" / "journal.jsonl").read_text("utf-8").splitlines()
    failed = [f for e in map(json.loads, journal) if e["event"] == "batch" for f in e["failed"]]
    assert [f["id"] for f in failed] == ["home-1"]
    assert "tokens with its contexts, the model takes 64" in failed[0]["reason"]


def test_a_run_of_which_no_edit_can_be_made_says_so(revive, spec, edits, short_models):
    long = "A" * 80
    write_edits(edits, edit(1, subject=long, prompt=f"{long} lives in"))
    ran = revive("run", spec(model=str(short_models["llama"])), "--out", "out", "--quiet")
    ran.refused(2, "home-1", "no edit could be made", "the model takes 64", "shorten")


def write_mixed(path, bad):
    """Two good edits around so many bad ones."""
    rows = [json.dumps(edit(0)), *(f'{{"id": {n}' for n in range(bad)), json.dumps(edit(2))]
    path.write_text("\n".join(rows), "utf-8")
    return path


def test_all_bad_lines_are_counted_and_ten_are_shown(revive, spec, edits, tmp_path):
    write_mixed(edits, 12)
    ran = revive("run", spec(), "--out", "out", "--quiet")
    assert (ran.code, ran.out) == (2, "")
    first, *told = ran.err.splitlines()
    assert first.startswith(f"revive: {edits}: 12 records cannot be used; correct them, or ")
    assert "--skip-bad (edits.skip_bad: true)" in first
    assert [line.split(": ")[0] for line in told[:-1]] == [
        f"  {edits}, line {n}" for n in range(2, 12)
    ]
    assert told[-1] == "  and 2 more."
    assert not (tmp_path / "out").exists()


def test_bad_lines_of_every_kind_are_counted_together(revive, spec, edits):
    lines = [line for line, _ in BROKEN.values()]
    edits.write_text("\n".join([json.dumps(edit(0)), *lines]), "utf-8")
    ran = revive("check", spec())
    assert f"{len(lines)} records cannot be used" in ran.err
    for number, (_, reason) in enumerate(BROKEN.values(), start=2):
        assert any(f"line {number}: " in t and reason in t for t in ran.err.splitlines()), reason


def test_bad_lines_are_left_out_when_asked_and_that_is_said(revive, spec, edits, model, tmp_path):
    write_mixed(edits, 12)
    ran = revive("check", spec(), "--set", "edits.skip_bad=true", "--json")
    assert ran.code == 0
    assert (json.loads(ran.out)["edits"], json.loads(ran.out)["bad"]) == (2, 12)
    assert f"revive: {edits}: left out 12 records that cannot be used:" in ran.err
    assert "and 2 more." in ran.err
    options = ["editor.layers=[0]", "editor.ridge=10", "editor.steps=1", "editor.contexts=0"]
    ran = revive(
        *("edit", model, edits, "--out", "out", "--skip-bad", "--text", "corpus.txt", "--quiet"),
        *(word for option in options for word in ("--set", option)),
    )
    assert ran.code == 0, ran.err
    assert "left out 12 records" in ran.err
    assert "2 edits" in ran.out
    measured = revive("evaluate", model, "--edits", edits, "--tasks", "edits", "--quiet")
    assert measured.code == 2
    measured = revive(
        *("evaluate", model, "--edits", edits, "--tasks", "edits", "--skip-bad", "--quiet")
    )
    assert measured.code == 0, measured.err
    # Nothing is left of a file without a good line.
    edits.write_text('{"id"\n{"id"\n', "utf-8")
    ran = revive("check", spec(), "--set", "edits.skip_bad=true")
    assert (ran.code, ran.out) == (2, "")
    assert "2 records cannot be used" in ran.err


def test_rows_of_a_table_and_of_an_array_are_counted_too(revive, spec, edits):
    edits.write_text("prompt,subject,target_new\na b,a,c\nd,e\nf,g\n", "utf-8")
    assert "2 records cannot be used" in revive("check", spec()).err
    edits.write_text(json.dumps([edit(0), 1, {"prompt": "x"}]), "utf-8")
    assert "2 records cannot be used" in revive("check", spec()).err


@pytest.mark.parametrize("fields", [{}, {"paraphrases": ["Where does Ada live?"]}])
def test_a_pretty_printed_object_is_one_edit(revive, spec, edits, fields):
    edits.write_text(json.dumps(edit(0, **fields), indent=2) + "\n", "utf-8")
    ran = revive("check", spec(), "--json")
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["edits"] == 1
    # What is wrong with it is told of the file.
    edits.write_text(json.dumps(edit(0, target_new=""), indent=2), "utf-8")
    revive("check", spec()).refused(2, f"{edits}: target_new is empty")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ('{"a": ' + "9" * 4400 + "}", "a number too long"),
        ('[{"a": ' + "9" * 4400 + "}]", "a number too long"),
        ('{"requested_rewrite": 1.5}', "format not recognised"),
    ],
)
def test_odd_values_are_refused(revive, spec, edits, content, reason):
    edits.write_text(content, "utf-8")
    revive("check", spec()).refused(2, str(edits), reason)


@pytest.mark.parametrize("value", ["1.5", "true", '"x"', "null"])
def test_rewrites_that_are_no_list_are_refused(revive, spec, edits, value):
    edits.write_text(f'{{"requested_rewrite": {value}}}', "utf-8")
    ran = revive("check", spec(), "--set", "edits.format=mquake")
    ran.refused(2, "requested_rewrite must be a list")
