"""A package that is not ours brings an editor and a guard; a run uses them by name."""

import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from e2e_runs import SITES, batches, journal, revive

PACKAGE = Path(__file__).resolve().parents[1] / "plugin_package"


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The environment of a process that has the package installed.

    Its metadata are written as an installer would from its pyproject, which needs a build backend
    that may have to be downloaded.
    """
    site = tmp_path_factory.mktemp("site")
    project = tomllib.loads((PACKAGE / "pyproject.toml").read_text("utf-8"))["project"]
    shutil.copy(PACKAGE / "example_plugin.py", site)
    name, version = project["name"], project["version"]
    about = site / f"{name.replace('-', '_')}-{version}.dist-info"
    about.mkdir()
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    (about / "METADATA").write_text(metadata, "utf-8")
    points = "".join(
        f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in entries.items())
        for group, entries in project["entry-points"].items()
    )
    (about / "entry_points.txt").write_text(points, "utf-8")
    return {**os.environ, "PYTHONPATH": str(site)}


def listed(group, **options):
    entries = json.loads(revive("list", group, "--json", **options).stdout)
    return {entry["name"]: entry for entry in entries}


@pytest.mark.parametrize(("group", "name"), [("guards", "fade"), ("editors", "least-norm")])
def test_what_is_installed_is_listed(installed, group, name):
    found = listed(group, env=installed)
    assert found[name]["origin"] == "revive-example-plugin"
    assert found[name]["paper"] == "none, an example"
    assert found[name]["summary"]
    assert name not in listed(group)


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
    spec = write_spec(guard={"name": "fade"})
    done = subprocess.run(
        [sys.executable, "-m", "revive.cli.main", "check", str(spec)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert "Unknown guard 'fade'" in done.stderr


def test_settings_of_a_foreign_editor_are_checked_too(installed, write_spec):
    editor = {"name": "least-norm", "dampnig": 0.5}
    done = subprocess.run(
        [sys.executable, "-m", "revive.cli.main", "check", str(write_spec(whole_editor=editor))],
        capture_output=True,
        text=True,
        timeout=60,
        env=installed,
    )
    assert done.returncode == 2
    assert "Did you mean 'damping'" in done.stderr
