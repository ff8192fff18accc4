"""Folders that hold something, nothing, or a run that somebody else made or is making."""

import json
import subprocess
import sys

import pytest
import yaml
from calling import environment, files


@pytest.fixture
def run(revive, spec, tmp_path):
    """A finished run."""
    assert revive("run", spec(), "--out", "run", "--quiet").code == 0
    return tmp_path / "run"


@pytest.fixture
def unloadable(model, tmp_path):
    """A model folder that costs an error as soon as it is loaded."""
    folder = tmp_path / "unloadable"
    folder.mkdir()
    (folder / "config.json").write_bytes((model / "config.json").read_bytes())
    return folder


@pytest.mark.parametrize("command", ["run", "edit", "edit --run"])
def test_an_output_folder_that_holds_something_is_refused_before_any_work(
    revive, spec, edits, unloadable, tmp_path, command
):
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "thesis.txt").write_text("years of work", "utf-8")
    path = spec(model={"name": str(unloadable)})
    given = {
        "run": ("run", path, "--out", taken),
        "edit": ("edit", unloadable, edits, "--out", taken, "--text", "corpus.txt"),
        "edit --run": (
            *("edit", unloadable, edits, "--out", "out", "--run", taken),
            *("--text", "corpus.txt"),
        ),
    }[command]
    before = files(tmp_path)
    revive(*given, "--quiet").refused(2, str(taken), "not empty; choose another")
    assert files(tmp_path) == before


def test_an_output_that_is_a_file_or_cannot_be_made(revive, spec, edits, model, tmp_path):
    before = files(tmp_path)
    revive("run", spec(), "--out", edits, "--quiet").refused(2, str(edits), "is a file")
    revive("edit", model, edits, "--out", edits, "--quiet").refused(2, str(edits), "--out")
    ran = revive("run", spec(), "--out", edits / "below", "--quiet")
    ran.refused(2, "cannot be made", "choose another --out")
    assert before.items() <= files(tmp_path).items()


def test_a_run_is_not_begun_twice_in_one_folder(revive, spec, run):
    before = files(run)
    revive("run", spec(), "--out", run, "--quiet").refused(
        2, "holds a run already", f"'revive resume {run}'"
    )
    assert files(run) == before


@pytest.mark.parametrize(
    "command", ["resume --quiet", "status", "rollback --to 0", "rollback --edit home-1", "report"]
)
def test_what_needs_a_run_refuses_other_folders(revive, spec, tmp_path, command):
    # A spec of one's own that happens to have the name it has in a run folder.
    spec("spec.yaml")
    (tmp_path / "empty").mkdir()
    name, *options = command.split()
    before = files(tmp_path)
    revive(name, tmp_path, *options).refused(2, str(tmp_path), "no journal.jsonl")
    revive(name, tmp_path / "empty", *options).refused(2, str(tmp_path / "empty"), "no spec.yaml")
    revive(name, tmp_path / "none", *options).refused(2, str(tmp_path / "none"))
    assert files(tmp_path) == before
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    "command", ["resume --quiet", "status", "rollback --to 0", "rollback --edit home-1", "report"]
)
def test_a_run_of_a_newer_version_is_left_alone(revive, run, command):
    journal = run / "journal.jsonl"
    lines = [{**json.loads(x), "schema": 2} for x in journal.read_text("utf-8").splitlines()]
    journal.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    stored = yaml.safe_load((run / "spec.yaml").read_text("utf-8"))
    (run / "spec.yaml").write_text(yaml.safe_dump({**stored, "novelty": 1}), "utf-8")
    before = files(run)
    name, *options = command.split()
    revive(name, run, *options).refused(
        2, f"{journal}, line 1: made by a newer revive", "schema 2", "upgrade"
    )
    assert files(run) == before


def test_a_run_that_another_process_is_writing(revive, run, tmp_path):
    code = (
        "import sys\nfrom revive.run_folder.store import RunFolder\n"
        f"with RunFolder.open({str(run)!r}).lock():\n"
        "    print('held', flush=True)\n    sys.stdin.read()\n"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment(tmp_path),
    )
    with holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        before = files(run)
        said = f"process {holder.pid} is writing this run; wait for it, or stop it"
        revive("resume", run, "--quiet").refused(2, str(run), said)
        revive("rollback", run, "--to", "0").refused(2, str(run), said)
        revive("rollback", run, "--edit", "home-1").refused(2, str(run), said)
        assert files(run) == before
    assert revive("resume", run, "--quiet").code == 0


def test_edits_or_a_model_that_changed_since_are_refused(revive, spec, model, edits, run):
    revive("rollback", run, "--to", "1")
    before = files(run)
    kept = edits.read_text("utf-8")
    edits.write_text(kept.replace("Rome", "Bonn"), "utf-8")
    revive("resume", run, "--quiet").refused(2, "the edit file has changed", "restore it")
    edits.unlink()
    revive("resume", run, "--quiet").refused(2, f"{edits}: no such file")
    after = files(run)
    assert {k: v for k, v in after.items() if k != ".lock"} == {
        k: v for k, v in before.items() if k != ".lock"
    }
    edits.write_text(kept, "utf-8")
    assert revive("resume", run, "--quiet").code == 0


def test_a_damaged_update_is_named(revive, run):
    path = run / "updates" / "000002.safetensors"
    path.write_bytes(path.read_bytes()[:-4])
    revive("rollback", run, "--edit", "home-2", "--no-measure").refused(2, str(path), "is damaged")
    # Going back before it is how a run goes on.
    back = revive("rollback", run, "--to", "1")
    assert back.code == 0
    assert "The norm leaves out what could not be read (000002.safetensors is damaged" in back.err
    assert revive("resume", run, "--quiet").code == 0
