"""`~` in every path: options, specs, Python. And text that nobody named."""

import json
import shutil

import pytest
import torch
from calling import edit, write_edits

import revive as package
from revive.cli.main import app
from revive.engine.text_statistics import moment_texts
from revive.lab.corpus import sentences
from revive.paths import at_home
from revive.spec.schema import MomentsSpec
from revive.texts.package import ABOUT, CHARACTERS, package_passages

SHORT = (
    *("--set", "editor.layers=[0]", "--set", "editor.ridge=10", "--set", "editor.steps=1"),
    *("--set", "editor.contexts=0", "--set", "probes=[edits]", "--quiet"),
)


@pytest.fixture
def home(tmp_path, monkeypatch, model):
    """A home with a model, edits and text in it, away from the working folder."""
    folder = tmp_path.with_name(tmp_path.name + "-home")
    folder.mkdir()
    shutil.copytree(model, folder / "model")
    write_edits(folder / "edits.jsonl", edit(0), edit(1))
    (folder / "corpus.txt").write_text("The ship left the harbour at dawn.\n" * 8, "utf-8")
    monkeypatch.setenv("HOME", str(folder))
    return folder


def test_a_path_of_nobody_stays_as_it_is(home):
    assert at_home("~/x") == home / "x"
    assert str(at_home("~nobody-of-that-name/x")) == "~nobody-of-that-name/x"
    assert str(at_home("a/~/x")) == "a/~/x"


def test_the_everyday_job_from_home(revive, home, tmp_path):
    out, run = "~/edited", "~/edited.run"
    done = revive(
        *("edit", "~/model", "~/edits.jsonl", "--out", out, "--text", "~/corpus.txt"), *SHORT
    )
    assert done.code == 0, done.err
    assert (home / "edited" / "config.json").is_file()
    assert (home / "edited.run" / "spec.yaml").is_file()
    for command in (
        ("status", run),
        ("evaluate", out, "--edits", "~/edits.jsonl", "--tasks", "edits", "--quiet"),
        ("report", run, "--out", "~/report"),
        ("export", run, "~/delta", "--format", "delta"),
        ("rollback", run, "--to", "0", "--out", "~/back", "--quiet"),
        ("resume", run, "--quiet"),
    ):
        found = revive(*command)
        assert found.code == 0, (command, found.err)
    for made in ("report/index.html", "back/config.json"):
        assert (home / made).is_file()
    assert list((home / "delta").iterdir())
    assert not [p for p in tmp_path.iterdir() if p.name.startswith("~")]


def test_a_spec_may_say_home_everywhere(revive, home, spec):
    path = spec(
        model={"name": "~/model", "device": "cpu"},
        edits={"path": "~/edits.jsonl", "batch_size": 2},
        moments={"text": ["~/corpus.txt"]},
        probes=[{"name": "perplexity", "text": "~/corpus.txt"}],
    )
    shutil.move(path, home / "spec.yaml")
    done = revive("check", "~/spec.yaml", "--json")
    assert done.code == 0, done.err
    resolved = json.loads(done.out)["spec"]
    assert resolved["model"]["name"] == str(home / "model")
    assert resolved["edits"]["path"] == str(home / "edits.jsonl")
    assert resolved["moments"]["text"] == [str(home / "corpus.txt")]
    assert resolved["probes"][0]["text"] == str(home / "corpus.txt")


def test_every_command_takes_its_paths_from_home():
    """No command is added past the one place that does it."""
    assert all(hasattr(c.callback, "__wrapped__") for c in app.registered_commands)


def test_python_takes_paths_from_home(home, model):
    edits = package.load_edits("~/edits.jsonl").edits
    editor = package.Editor.from_pretrained(
        *("~/model",),
        **{"text": "~/corpus.txt", "device": "cpu", "layers": [0], "ridge": 10.0, "steps": 1},
        **{"contexts": 0, "progress": False},
    )
    editor.edit(edits)
    editor.save_pretrained("~/mine")
    editor.export_lora("~/adapter")
    assert (home / "mine" / "config.json").is_file()
    assert (home / "adapter" / "adapter_config.json").is_file()
    update = package.LowRank(torch.ones(2, 1), torch.ones(1, 2))
    package.Delta({"w": update}, "m", "b", "torch.float32", "").save("~/delta.safetensors")
    assert (home / "delta.safetensors").is_file()
    assert package.Delta.load("~/delta.safetensors").model == "m"


def test_without_text_the_package_s_own_is_used_and_that_is_said(revive, home, model):
    loud = [part for part in SHORT if part != "--quiet"]
    done = revive("edit", "~/model", "~/edits.jsonl", "--out", "~/edited", *loud)
    assert done.code == 0, done.err
    assert (
        done.err.count(
            f"no text is named: what the model should keep handling well is taken from {ABOUT}"
        )
        == 1
    )
    assert "text: package" in (home / "edited.run" / "spec.yaml").read_text()


@pytest.mark.parametrize("name", ["lab", "package"])
def test_a_text_that_comes_along_is_named_where_files_are(revive, home, name):
    done = revive("edit", "~/model", "~/edits.jsonl", "--out", "~/edited", "--text", name, *SHORT)
    assert done.code == 0, done.err
    assert done.err.count("no text is named") == 0
    assert f"text: {name}" in (home / "edited.run" / "spec.yaml").read_text()


def test_named_texts_are_what_they_say():
    lab = MomentsSpec.model_validate({"text": ["lab"], "samples": 5})
    assert moment_texts(lab, seed=3) == sentences(3, 5)
    ours = MomentsSpec.model_validate({"text": "package", "samples": 5})
    assert moment_texts(ours, seed=3) == package_passages()[:5]
    whole = package_passages()
    assert 0.9 * CHARACTERS < sum(map(len, whole)) < CHARACTERS
    assert len(set(whole)) == len(whole)
    assert not any("<" in passage for passage in whole)
