"""A grid of runs: made, kept, resumed, told of."""

import json
import signal
import subprocess
import sys
import time

import psutil
import pytest
import yaml
from e2e_runs import revive, short_editor, write_edits

from revive.errors import SpecError
from revive.run_folder.store import RunFolder
from revive.sweeps.grid import cells, load_sweep, short

METRICS = ["efficacy", "weight_norm_ratio", "edit_seconds"]


@pytest.fixture
def write_sweep(tmp_path, tiny_folder, corpus):
    def write(grid, seeds=(0, 1), count=4, **more):
        edits = write_edits(tmp_path / "edits.jsonl", count)
        base = {
            "model": {"name": str(tiny_folder), "device": "cpu"},
            "edits": {"path": str(edits), "batch_size": 2, "order": "random"},
            "editor": short_editor(),
            "guard": "none",
            "probes": ["edits", "spectrum"],
            "moments": {"text": [str(corpus)]},
            "threads": 1,
        }
        path = tmp_path / "sweep.yaml"
        text = {"base": base, "grid": grid, "seeds": list(seeds), "metrics": METRICS, **more}
        path.write_text(yaml.safe_dump(text, sort_keys=False), "utf-8")
        return path

    return write


def table(path, out, *options):
    return json.loads(revive("sweep", path, "--out", out, "--json", "--quiet", *options).stdout)


def test_every_combination_is_run_once_per_seed(write_sweep, tmp_path):
    grid = {"editor.ridge": [10.0, 1e6], "guard": ["none", {"name": "revive", "energy": 0.3}]}
    path, out = write_sweep(grid), tmp_path / "out"
    rows = table(path, out)
    assert [r["values"] for r in rows] == [
        {"editor.ridge": "10", "guard": "none"},
        {"editor.ridge": "10", "guard": "revive energy=0.3"},
        {"editor.ridge": "1e+06", "guard": "none"},
        {"editor.ridge": "1e+06", "guard": "revive energy=0.3"},
    ]
    assert [(r["finished"], r["failed"]) for r in rows] == [(2, [])] * 4
    folders = [p.parent for p in out.glob("*/spec.yaml")]
    assert len(folders) == 8
    specs = [yaml.safe_load((f / "spec.yaml").read_text("utf-8")) for f in folders]
    assert {(s["seed"], s["edits"]["seed"]) for s in specs} == {(0, 0), (1, 1)}
    growth = {tuple(r["values"].values()): r["metrics"]["weight_norm_ratio"] for r in rows}
    assert growth["10", "none"]["mean"] > growth["1e+06", "none"]["mean"]
    finals = [
        json.loads((f / "summary.json").read_text("utf-8"))["final"]["weight_norm_ratio"]
        for f in folders
        if f.name.startswith("10__none")
    ]
    assert len(finals) == 2
    assert growth["10", "none"]["mean"] == pytest.approx(sum(finals) / 2)
    assert growth["10", "none"]["deviation"] == pytest.approx(abs(finals[0] - finals[1]) / 2**0.5)

    # What is finished is kept: the second time nothing runs, and the table is the same.
    stamps = {f: (f / "journal.jsonl").stat().st_mtime_ns for f in folders}
    assert table(path, out) == rows
    assert table(path, out, "--table") == rows
    assert {f: (f / "journal.jsonl").stat().st_mtime_ns for f in folders} == stamps
    printed = revive("sweep", path, "--out", out, "--table", "--markdown").stdout.splitlines()
    assert printed[0] == "| editor.ridge | guard | efficacy | weight_norm_ratio | edit_seconds |"
    assert len(printed) == 2 + 4


def test_a_run_that_fails_is_told_of_and_the_others_go_on(write_sweep, tmp_path):
    # The second corpus does not exist: that run is refused when it starts.
    path, out = (
        write_sweep({"moments.text": [["corpus"], ["nowhere.txt"]]}, seeds=[0]),
        tmp_path / "out",
    )
    spec = yaml.safe_load(path.read_text("utf-8"))
    spec["grid"]["moments.text"][0] = spec["base"]["moments"]["text"]
    path.write_text(yaml.safe_dump(spec), "utf-8")
    command = ["sweep", str(path), "--out", str(out), "--json", "--quiet"]
    done = subprocess.run(
        [sys.executable, "-m", "revive.cli.main", *command],
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    good, bad = json.loads(done.stdout)
    assert good["finished"] == 1
    assert bad["finished"] == 0
    assert "nowhere.txt" in bad["failed"][0]
    assert "nowhere.txt" in done.stderr
    assert bad["metrics"]["efficacy"]["runs"] == 0


@pytest.mark.parametrize(
    ("grid", "more", "word"),
    [
        ({"guard": ["revvie"]}, {}, "Did you mean 'revive'"),
        ({"guard": []}, {}, "at least 1"),
        ({"guard.enrgy": [0.1]}, {}, "Did you mean 'energy'"),
        ({"guard": ["none"]}, {"sedes": [1]}, "Did you mean 'seeds'"),
        ({"guard": ["none"]}, {"seeds": ["one"]}, "expected a whole number"),
    ],
)
def test_a_wrong_sweep_is_refused_before_anything_runs(write_sweep, grid, more, word):
    with pytest.raises(SpecError, match=word):
        load_sweep(write_sweep(grid, **more))


def test_parts_are_set_before_what_is_inside_them(write_sweep):
    grid = {"guard.energy": [0.2], "guard": ["revive", "left-only"]}
    made = list(cells(load_sweep(write_sweep(grid))))
    assert [c.arms[0].spec["guard"] for c in made] == [
        {"name": "revive", "energy": 0.2},
        {"name": "left-only", "energy": 0.2},
    ]
    assert [short(v) for v in (["revive", {"name": "norm-cap", "cap": 0.1}], 0.5, True)] == [
        "revive+norm-cap cap=0.1",
        "0.5",
        "True",
    ]


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_no_run_outlives_its_sweep(write_sweep, tmp_path, how):
    path, out = write_sweep({"guard": ["none", "revive"]}, [0], count=400), tmp_path / "out"
    sweep = subprocess.Popen(
        [sys.executable, "-m", "revive.cli.main", "sweep", path, "--out", out, "--quiet"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    own = psutil.Process(sweep.pid)
    until(lambda: any(out.glob("*/journal.jsonl")))
    runs = own.children()
    assert runs  # the control: there was something to outlive it
    sweep.send_signal(how)
    sweep.wait(30)
    _, alive = psutil.wait_procs(runs, timeout=30)
    assert alive == []
    assert not list(out.glob("*/summary.json"))  # none of them had come to its own end
    for journal in out.glob("*/journal.jsonl"):
        with RunFolder.open(journal.parent).lock():
            pass  # nothing is held against whoever goes on


def until(condition, seconds=120.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.02)
