"""A grid of runs on a Ray cluster: the same files, retries from the last batch, results at home."""

import json
import os
import re
import secrets
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from e2e_runs import journal, short_editor, update_files, write_edits

pytest.importorskip("ray", reason="ray is not installed")

BATCHES = 6
SLOW = short_editor(steps=60, stop_loss=0.0, clamp=0.5)
GONE = 30.0  # seconds until processes that were told to go are gone


@pytest.fixture(scope="module")
def cluster(own_cache):
    """A cluster that was there before; the environment of whoever may use it."""
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    environment = {**os.environ, **token, "RAY_USAGE_STATS_ENABLED": "0"}
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("ray_cluster.py"))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    address = process.stdout.readline().strip()
    assert address, "the cluster did not start"
    yield address, environment
    process.stdin.close()
    process.wait(timeout=60)


@pytest.fixture(scope="module")
def write_sweep(tiny_folder, corpus):
    def write(folder, grid, **parts):
        base = {
            "model": {"name": str(tiny_folder), "device": "cpu"},
            "edits": {"path": str(write_edits(folder / "edits.jsonl", BATCHES)), "batch_size": 1},
            "editor": SLOW,
            "guard": "none",
            "probes": [{"name": "edits", "every": BATCHES}],
            "checkpoint": {"every": 2},
            "moments": {"text": [str(corpus)]},
            "threads": 1,
            **parts,
        }
        path = folder / "sweep.yaml"
        whole = {"base": base, "grid": grid, "metrics": ["efficacy"]}
        path.write_text(yaml.safe_dump(whole, sort_keys=False), "utf-8")
        return path

    return write


def command(*args):
    return [sys.executable, "-m", "revive.cli.main", "sweep", *map(str, args), "--json", "--quiet"]


def sweep(*args, env=None):
    done = subprocess.run(command(*args), capture_output=True, text=True, timeout=300, env=env)
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def calm(tmp_path_factory, write_sweep):
    """The sweep file of one run, and that run as nobody disturbed it, made by the local runner."""
    folder = tmp_path_factory.mktemp("calm")
    path = write_sweep(folder, {"editor.ridge": [1000.0]})
    sweep(path, "--out", folder / "out")
    return path, folder / "out" / "1000_s0"


def end_of(folder):
    """A summary without what the clock decides."""
    summary = json.loads((folder / "summary.json").read_text("utf-8"))
    clock = ("seconds", "peak_memory_bytes", "journal_time", "checksum")
    return {k: v for k, v in summary.items() if k not in clock}


def test_a_cluster_of_its_own_gives_the_same_files_and_leaves_nothing_behind(
    write_sweep, tmp_path, own_cache
):
    grid = {"editor.ridge": [10.0, 1e6]}
    path = write_sweep(tmp_path, grid, editor=short_editor())
    temporary = Path("/tmp") / f"revive-test-{os.getpid()}"
    temporary.mkdir()
    here = {**os.environ, "HOME": str(tmp_path), "TMPDIR": str(temporary)}
    rows = json.loads(sweep(path, "--out", tmp_path / "local").stdout)
    done = sweep(path, "--out", tmp_path / "ray", "--on", "ray", env=here)
    assert [{**r, "failed": []} for r in json.loads(done.stdout)] == rows
    for name in ("10_s0", "1e+06_s0"):
        local, ray = tmp_path / "local" / name, tmp_path / "ray" / name
        assert update_files(ray) == update_files(local)
        assert len(update_files(ray)) == BATCHES
        assert end_of(ray) == end_of(local)
    assert done.stderr == ""
    assert list(temporary.iterdir()) == []
    temporary.rmdir()
    assert not (tmp_path / ".ray").exists()
    page = (tmp_path / "ray" / "report" / "index.html").read_text("utf-8")
    assert "The grid" in page
    assert "10 (seed 0)" in page
    assert (tmp_path / "ray" / "report" / "sweep.md").read_text("utf-8").count("\n") == 4
    # What is finished needs no cluster.
    again = sweep(path, "--out", tmp_path / "ray", "--on", "ray", "--address", "127.0.0.1:1")
    assert json.loads(again.stdout) == rows


def steps(folder, kind):
    return [e["step"] for e in journal(folder) if e["event"] == kind]


def batches_made(folder):
    path = folder / "journal.jsonl"
    return path.read_text("utf-8").count('"batch"') if path.exists() else 0


def parent(pid):
    stat = Path(f"/proc/{pid}/stat").read_text()
    return int(stat.rpartition(")")[2].split()[1])


def wait_until(what, seconds=120.0):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := what():
            return found
        time.sleep(0.01)
    raise AssertionError("it did not happen in time")


def running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
@pytest.mark.parametrize(("victim", "own_disk"), [("run", False), ("worker", True)])
def test_what_is_killed_goes_on_where_it_was(cluster, calm, tmp_path, victim, own_disk):
    address, environment = cluster
    path, undisturbed = calm
    out, scratch = tmp_path / "out", tmp_path / "disk"
    more = ["--scratch", scratch] if own_disk else []
    process = subprocess.Popen(
        command(path, "--out", out, "--on", "ray", "--address", address, *more),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    folder = out / "1000_s0"
    wait_until(lambda: batches_made(folder) >= 2)
    there = next(scratch.glob("*/1000_s0/1000_s0")) if own_disk else folder
    run = int((there / ".lock").read_text())
    killed = run if victim == "run" else parent(run)
    assert killed != process.pid
    os.kill(killed, signal.SIGKILL)
    out_text, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert json.loads(out_text)[0]["finished"] == 1
    assert "tried again (1 of 2)" in err
    assert not running(run)

    # Negative control of the proof: a run that began anew would have its first batch twice, and
    # no resume; both are in the journal, which is only ever appended to.
    assert steps(folder, "batch") == list(range(1, BATCHES + 1))
    assert len(steps(folder, "resume")) == 1
    assert steps(folder, "resume")[0] >= 2
    assert steps(folder, "start") == [0]
    assert update_files(folder) == update_files(undisturbed)
    assert end_of(folder) == end_of(undisturbed)
    assert list(scratch.glob("*")) == []


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
def test_ctrl_c_leaves_runs_that_can_go_on_anywhere(cluster, calm, tmp_path):
    address, environment = cluster
    path, undisturbed = calm
    out = tmp_path / "out"
    process = subprocess.Popen(
        command(path, "--out", out, "--on", "ray", "--address", address),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    folder = out / "1000_s0"
    wait_until(lambda: batches_made(folder) >= 1)
    run = int((folder / ".lock").read_text())
    os.killpg(process.pid, signal.SIGINT)
    out_text, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert out_text == ""
    assert re.fullmatch(r"revive: interrupted; what was committed is kept .*\n", err)
    wait_until(lambda: not running(run), GONE)
    assert "finish" not in [e["event"] for e in journal(folder)]
    sweep(path, "--out", out)
    assert steps(folder, "batch") == list(range(1, BATCHES + 1))
    assert len(steps(folder, "resume")) == 1
    assert update_files(folder) == update_files(undisturbed)


def test_a_wrong_spec_is_told_of_once_and_the_others_go_on(cluster, write_sweep, tmp_path, corpus):
    address, environment = cluster
    grid = {"moments.text": [[str(corpus)], ["nowhere.txt"]], "model.device": ["cpu", "cuda"]}
    path = write_sweep(tmp_path, grid, editor=short_editor())
    done = sweep(
        *(path, "--out", tmp_path / "out", "--on", "ray", "--address", address),
        *("--gpus", 0, "--retries", 1),
        env=environment,
    )
    good, no_device, wrong, _ = json.loads(done.stdout)
    assert good["finished"] == 1
    assert "nowhere.txt" in wrong["failed"][0]
    # A node without a GPU is a reason to try elsewhere, a file that is not there is none.
    assert "CUDA is not available" in no_device["failed"][0]
    again = re.findall(r"revive: (.*) \(seed 0\): .*tried again \((.*)\)", done.stderr)
    told = {(name.rpartition(", ")[2], tries) for name, tries in again}
    assert told == {("cuda", "1 of 1")}
    assert not any("nowhere.txt" in name and name.endswith("cpu") for name, _ in again)
    page = (tmp_path / "out" / "report" / "index.html").read_text("utf-8")
    assert "Runs that failed" in page
    assert "nowhere.txt" in page
