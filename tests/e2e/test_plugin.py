"""A package that is not ours brings an editor, a guard, a model family and a task, by name."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from e2e_runs import SITES, batches, journal, revive
from tiny import byte_tokenizer
from transformers import PersimmonConfig, PersimmonForCausalLM

PACKAGE = Path(__file__).resolve().parents[1] / "plugin_package"
EXAMPLE = PACKAGE.parents[1] / "examples" / "plugin"


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The environment of a process that has the package installed, by pip, from its sources."""
    work = tmp_path_factory.mktemp("plugin")
    sources = shutil.copytree(PACKAGE, work / "sources")
    install(sources, work / "site")
    paths = [str(work / "site"), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def install(sources, site):
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps"),
            *("--no-build-isolation", "--target", str(site), str(sources)),
        ],
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr


def listed(group, **options):
    entries = json.loads(revive("list", group, "--json", **options).stdout)
    return {entry["name"]: entry for entry in entries}


@pytest.mark.parametrize(
    ("group", "name"),
    [("guards", "fade"), ("editors", "least-norm"), ("models", "persimmon"), ("tasks", "capitals")],
)
def test_what_is_installed_is_listed(installed, group, name):
    found = listed(group, env=installed)
    assert found[name]["origin"] == "revive-example-plugin"
    if group != "models":
        assert found[name]["paper"] == "none, an example"
        assert found[name]["summary"]
    assert name not in listed(group)


@pytest.fixture(scope="module")
def persimmon_folder(tmp_path_factory):
    """A model of a family that only the package knows."""
    torch.manual_seed(0)
    config = PersimmonConfig(
        vocab_size=259,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=3,
        num_attention_heads=4,
        max_position_embeddings=256,
    )
    folder = tmp_path_factory.mktemp("persimmon")
    PersimmonForCausalLM(config).save_pretrained(folder)
    byte_tokenizer(bos=True).save_pretrained(folder)
    return folder


def test_a_model_of_a_foreign_family_is_edited(installed, persimmon_folder, write_spec, tmp_path):
    spec = write_spec(model={"name": str(persimmon_folder)}, edits=4)
    revive("run", spec, "--out", tmp_path / "run", "--quiet", env=installed)
    for event in batches(tmp_path / "run"):
        assert list(event["sites"]) == [
            f"model.layers.{layer}.mlp.dense_4h_to_h.weight" for layer in (0, 1)
        ]
        assert all(site["applied"] > 0 for site in event["sites"].values())
    done = refused("check", spec)
    assert "PersimmonForCausalLM has no supported layer" in done.stderr


def test_a_name_that_is_taken_is_refused(installed, tmp_path):
    sources = shutil.copytree(PACKAGE, tmp_path / "sources")
    project = sources / "pyproject.toml"
    text = project.read_text("utf-8").replace("revive-example-plugin", "revive-other-plugin")
    project.write_text(text.replace('fade = "', 'revive = "'), "utf-8")
    install(sources, tmp_path / "site")
    both = os.pathsep.join([str(tmp_path / "site"), installed["PYTHONPATH"]])
    done = refused("list", "guards", env={**os.environ, "PYTHONPATH": both})
    assert "Two distributions provide the guard 'revive'" in done.stderr
    assert "'revive-edit' and 'revive-other-plugin'" in done.stderr
    done = refused("list", "editors", env={**os.environ, "PYTHONPATH": both})
    assert "'revive-example-plugin'" in done.stderr
    assert "'revive-other-plugin'" in done.stderr


def refused(*args, **options):
    done = subprocess.run(
        [sys.executable, "-m", "revive.cli.main", *map(str, args)],
        capture_output=True,
        text=True,
        timeout=60,
        **options,
    )
    assert done.returncode == 2
    return done


def test_a_run_uses_both_and_can_be_resumed(installed, write_spec, tmp_path):
    editor = {"name": "least-norm", "damping": 0.5, "layers": [1], "steps": 4, "contexts": 0}
    guard = {"name": "fade", "share": 0.25}
    spec = write_spec(edits=6, whole_editor=editor, guard=guard)
    calm, cut = tmp_path / "calm", tmp_path / "cut"
    revive("run", spec, "--out", calm, "--quiet", env=installed)
    events = batches(calm)
    assert [e["made"] for e in events] == [
        ["home-0", "home-1"],
        ["home-2", "home-3"],
        ["home-4", "home-5"],
    ]
    for event in events:
        (site,) = event["sites"].items()
        assert site[0] == SITES[1]
        assert site[1]["applied"] == pytest.approx(0.25 * site[1]["asked"], rel=1e-4)
        assert site[1]["removed"]["rest_rest"] == pytest.approx(1 - 0.25**2)
    shutil.copytree(calm, cut)
    revive("rollback", cut, "--to", 1, env=installed)
    revive("resume", cut, "--quiet", env=installed)
    assert batches(cut) == events
    assert journal(cut)[-1]["event"] == "finish"


def test_without_the_package_its_names_are_unknown(write_spec):
    done = refused("check", write_spec(guard={"name": "fade"}))
    assert "Unknown guard 'fade'" in done.stderr


def test_settings_of_a_foreign_editor_are_checked_too(installed, write_spec):
    editor = {"name": "least-norm", "dampnig": 0.5}
    done = refused("check", write_spec(whole_editor=editor), env=installed)
    assert "Did you mean 'damping'" in done.stderr


def test_a_foreign_task_is_scored(installed, persimmon_folder, tmp_path):
    (tmp_path / "capitals.txt").write_text("France, Paris, Lyon\nItaly, Rome, Milan\n", "utf-8")
    done = revive(
        *("evaluate", persimmon_folder, "--tasks", "capitals", "--data", tmp_path, "--json"),
        env=installed,
    )
    found = json.loads(done.stdout)["tasks"][0]
    assert (found["task"], found["count"], found["baselines"]["chance"]) == ("capitals", 2, 0.5)


def test_the_worked_example_edits(write_spec, tmp_path):
    """What CONTRIBUTING shows is installed as it stands, and edits under a guard."""
    sources = shutil.copytree(EXAMPLE, tmp_path / "sources")
    install(sources, tmp_path / "site")
    paths = [str(tmp_path / "site"), *filter(None, [os.environ.get("PYTHONPATH")])]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    editor = {"name": "least-change", "layers": [1], "steps": 4, "contexts": 0}
    spec = write_spec(edits=4, whole_editor=editor, guard={"name": "revive", "energy": 0.1})
    revive("run", spec, "--out", tmp_path / "run", "--quiet", env=env)
    events = batches(tmp_path / "run")
    assert [len(event["made"]) for event in events] == [2, 2]
    for event in events:
        site = event["sites"][SITES[1]]
        assert 0 < site["applied"] < site["asked"]
        assert sum(site["removed"].values()) > 0
    # Each edit has a column of its own, so that one can be taken out.
    revive("rollback", tmp_path / "run", "--edit", "home-1", env=env)
    assert journal(tmp_path / "run")[-1]["event"] == "rollback"
