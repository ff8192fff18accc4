"""Commands that only look: they print, take no time, and load no model."""

import json
import subprocess
import sys

import pytest
import yaml
from calling import environment

from revive import registry
from revive.cli.main import app

COMMANDS = (
    *("demo", "run", "resume", "status", "edit", "evaluate", "report", "rollback", "check"),
    *("calibrate", "sweep", "spectrum", "export", "doctor", "moments", "fetch", "list", "verify"),
)
LIGHT = """
import sys
sys.argv = ["revive", *sys.argv[1:]]
from revive.cli.main import main
try:
    main()
finally:
    heavy = {"torch", "transformers", "matplotlib", "numpy"} & set(sys.modules)
    sys.stderr.write(f"heavy: {sorted(heavy)}")
"""


@pytest.fixture
def imported(tmp_path):
    """What of the heavy packages a command imports, in a process of its own."""

    def call(*args: object) -> str:
        done = subprocess.run(
            [sys.executable, "-c", LIGHT, *map(str, args)],
            env=environment(tmp_path),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return done.stderr.rpartition("heavy: ")[2]

    return call


def test_check_prints_the_spec_as_a_run_stores_it(revive, spec, tmp_path):
    path = spec()
    ran = revive("check", path)
    assert ran.code == 0
    *_, ok, text = ran.err.splitlines()
    assert ok.startswith("ok: 6 edits (jsonl) in 3 batches")
    assert text == "6 edits as sentences; prompt and target joined: auto."
    assert "editor memit-seq, spec: layers" in ran.err
    resolved = yaml.safe_load(ran.out)
    assert resolved["editor"]["layers"] == [0, 1]
    assert resolved["editor"]["key_average"] is True
    assert resolved["guard"]["energy"] == 0.1
    assert revive("run", path, "--out", "run", "--quiet").code == 0
    assert (tmp_path / "run" / "spec.yaml").read_text("utf-8") == ran.out


def test_check_as_json(revive, spec):
    ran = revive("check", spec(), "--json", "--set", "edits.limit=3")
    assert (ran.code, ran.err) == (0, "")
    found = json.loads(ran.out)
    assert found["edits"] == 3
    assert found["spec"]["edits"]["limit"] == 3
    assert min(found["memory_bytes"], found["disk_bytes"], found["seconds"]) > 0


def test_checking_and_listing_load_nothing_heavy(imported, spec):
    # numpy is what this machine's speed is measured with, once a day.
    assert imported("check", spec()) == "['numpy']"
    assert imported("check", spec()) == "[]"
    assert imported("list", "editors", "--json") == "[]"
    assert imported("run", "--help") == "[]"


def test_status_loads_nothing_heavy(imported, revive, spec, tmp_path):
    assert revive("run", spec(), "--out", "run", "--quiet").code == 0
    assert imported("status", tmp_path / "run") == "[]"


@pytest.mark.parametrize("group", ["editors", "guards", "models", "datasets", "probes"])
def test_list(revive, group):
    ran = revive("list", group)
    assert (ran.code, ran.err) == (0, "")
    found = revive("list", group, "--json")
    assert (found.code, found.err) == (0, "")
    entries = json.loads(found.out)
    assert [e["name"] for e in entries] == list(registry.names(group))
    for entry in entries:
        assert entry["name"] in ran.out
        assert entry["summary"]


@pytest.mark.parametrize("command", COMMANDS)
def test_help(revive, command):
    ran = revive(command, "--help")
    assert (ran.code, ran.err) == (0, "")
    assert f"Usage: revive {command}" in ran.out


def test_help_names_every_command(revive):
    ran = revive("--help")
    assert (ran.code, ran.err) == (0, "")
    assert revive().out == ran.out
    assert {c.name for c in app.registered_commands} == set(COMMANDS)
    for command in COMMANDS:
        assert f" {command} " in ran.out
