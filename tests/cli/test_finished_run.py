"""What can be asked of a run that went well."""

import json
import shutil

import pytest
from calling import edit, events, files, updates, write_edits
from transformers import AutoModelForCausalLM


def one_line(err):
    (line,) = err.splitlines()
    return line


@pytest.fixture
def run(revive, spec, tmp_path):
    assert revive("run", spec(), "--out", "run", "--quiet").code == 0
    return tmp_path / "run"


def test_a_run_in_a_real_process(process, revive, spec, tmp_path):
    done = process("run", spec(), "--out", "run", "--quiet", "--json")
    assert done.code == 0
    # Nothing but what a user must hear of: a model of random weights learns little in three steps.
    assert "edits do not answer with the new target" in one_line(done.err)
    summary = json.loads(done.out)
    assert (summary["edits"], summary["batches"], summary["failed"]) == (6, 3, 0)
    assert summary == json.loads((tmp_path / "run" / "summary.json").read_text("utf-8"))
    assert events(tmp_path / "run")[-1] == "finish"
    # The same run in another process that has done other things before: bit for bit.
    assert revive("run", spec(), "--out", "again", "--quiet").code == 0
    assert updates(tmp_path / "again") == updates(tmp_path / "run")


def test_progress_goes_to_stderr_and_results_to_stdout(revive, spec):
    ran = revive("run", spec(), "--out", "run", "--json")
    assert ran.code == 0
    assert json.loads(ran.out)["edits"] == 6
    assert "6/6 edits" in ran.err


def test_a_finished_run_resumes_to_its_summary(revive, run):
    before = {k: v for k, v in files(run).items() if k not in (".lock", "journal.jsonl")}
    ran = revive("resume", run, "--quiet", "--json")
    assert ran.code == 0
    assert json.loads(ran.out) == json.loads(before["summary.json"])
    assert {k: v for k, v in files(run).items() if k in before} == before


def test_status(revive, run):
    ran = revive("status", run, "--json")
    found = json.loads(ran.out)
    assert (ran.code, ran.err) == (0, "")
    assert (found["state"], found["step"], found["edits_made"]) == ("finished", 3, 6)
    ran = revive("status", run)
    assert ran.code == 0
    assert "finished; 6 of 6 edits in 3 batches, " in ran.err
    took = json.loads((run / "summary.json").read_text("utf-8"))["answers"]["reached"]
    assert f"{took} of 6 edits answer with the new target." in ran.err
    assert "efficacy_exact" in ran.out


def test_rollback_to_a_batch_and_again(revive, run):
    before = updates(run)
    ran = revive("rollback", run, "--to", "1", "--out", "edited-1", "--json")
    assert ran.code == 0, ran.err
    undone = json.loads(ran.out)
    assert (undone["step"], undone["removed"]) == (1, ["home-2", "home-3", "home-4", "home-5"])
    assert undone["norm"] > 0
    assert updates(run) == {"000001.safetensors": before["000001.safetensors"]}
    looked = revive("status", run).err
    assert "rolled back; 2 of 6 edits in 1 batch" in looked
    assert "makes what was undone again" in looked
    assert revive("resume", run, "--quiet").code == 0
    assert updates(run) == before


def test_rollback_to_no_batch_saves_the_unedited_model(revive, model, run, tmp_path):
    assert revive("rollback", run, "--to", "0", "--out", "unedited").code == 0
    old = AutoModelForCausalLM.from_pretrained(model).state_dict()
    new = AutoModelForCausalLM.from_pretrained(tmp_path / "unedited").state_dict()
    assert all(bool((old[key] == new[key]).all()) for key in old)


def test_rollback_of_one_edit(revive, model, run, tmp_path):
    ran = revive("rollback", run, "--edit", "home-2", "--json", "--out", "without")
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["removed"] == ["home-2"]
    assert (tmp_path / "without" / "model.safetensors").exists()
    again = revive("rollback", run, "--edit", "home-2")
    again.refused(2, "no edit 'home-2' is in the model of this run; it was taken out before")
    assert "It holds 5 edits: home-0, home-1, home-3 and 2 more." in again.err
    assert "edit home-2 was taken out; 'revive resume" in revive("status", run).err
    assert "home-2" not in json.loads(revive("rollback", run, "--to", "0", "--json").out)["removed"]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--to", "4"), "the run has 3 committed batches; give 0 to 3"),
        (("--to", "-1"), "give 0 to 3"),
        (("--edit", "home-9"), "no edit 'home-9' is in the model"),
        ((), "either --to STEP or --edit ID"),
    ],
)
def test_a_rollback_that_cannot_be(revive, run, arguments, reason):
    before = files(run)
    revive("rollback", run, *arguments).refused(2, reason)
    after = files(run)
    assert {**after, ".lock": b""} == {**before, ".lock": b""}


def test_a_rollback_that_would_overwrite_a_model_undoes_nothing(revive, run, model):
    before = files(run)
    revive("rollback", run, "--to", "0", "--out", model).refused(2, str(model), "not empty")
    assert files(run) == before


def test_report(revive, run, tmp_path):
    shutil.copytree(run, tmp_path / "second")
    before = files(run)
    ran = revive("report", run, "second", "--out", "page", "--json")
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["page"].endswith("index.html")
    page = (tmp_path / "page" / "index.html").read_text("utf-8")
    assert "memit-seq" in page
    assert (tmp_path / "page" / "table.csv").exists()
    assert files(run) == before


def test_an_edited_model_loads_and_the_same_command_again_is_refused(
    revive, spec, model, edits, tmp_path
):
    spec()
    settings = ("layers=[0, 1]", "ridge=10", "steps=2", "contexts=0")
    given = (
        *("edit", model, edits, "--text", "corpus.txt", "--quiet"),
        *(part for setting in settings for part in ("--set", f"editor.{setting}")),
    )
    assert revive(*given, "--out", "edited").code == 0
    old = AutoModelForCausalLM.from_pretrained(model).state_dict()
    new = AutoModelForCausalLM.from_pretrained(tmp_path / "edited").state_dict()
    changed = {key for key in old if not bool((old[key] == new[key]).all())}
    assert changed == {f"model.layers.{n}.mlp.down_proj.weight" for n in (0, 1)}
    before = files(tmp_path)
    revive(*given, "--out", "edited").refused(2, "--out", "edited", "not empty")
    # The run folder of other edits is not taken for this one's.
    write_edits(edits, edit(0, target_new="Bonn"))
    shutil.rmtree(tmp_path / "edited")
    revive(*given, "--out", "edited", "--set", "seed=1").refused(2, "edited.run")
    assert not (tmp_path / "edited").exists()
    assert {k: v for k, v in files(tmp_path).items() if k.startswith("edited.run")} == {
        k: v for k, v in before.items() if k.startswith("edited.run")
    }
