"""kill -9 at any moment, then resume: the same files, to the bit, as an undisturbed run."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from e2e_runs import batches, edited_weights, equal_tensors, journal, revive, same_end

from revive.runs.loop import resume

KILLS, ROLLBACKS = 20, 10
EVENTS = ("start", "measure", "batch", "checkpoint", "resume")


class Server:
    """Starts the command in forked processes that have everything imported."""

    def __init__(self, log, model):
        self.log = log
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("fork_server.py")), str(model)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, **request):
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def start(self, *argv):
        return self.ask(argv=[str(a) for a in argv], log=str(self.log))

    def wait(self, pid):
        return os.waitstatus_to_exitcode(self.ask(wait=pid))

    def close(self):
        self._process.stdin.close()
        self._process.wait(timeout=30)


@pytest.fixture
def server(tmp_path, tiny_folder, monkeypatch):
    # An empty cache: the key second moments are a phase that can be killed too.
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    server = Server(tmp_path / "log", tiny_folder)
    yield server
    server.close()


def command(folder, spec):
    """What a user calls: `run`, or `resume` once there is something to continue."""
    if (folder / "spec.yaml").exists():
        return ("resume", folder, "--quiet")
    return ("run", spec, "--out", folder, "--quiet")


def lines(folder):
    path = folder / "journal.jsonl"
    return path.read_bytes().splitlines() if path.exists() else []


def ended(pid):
    """Whether a process that nobody has waited for yet is over."""
    stat = Path(f"/proc/{pid}/stat").read_text()
    return stat.rpartition(")")[2].split()[0] == "Z"


def wait_for_moment(pid, folder, kind, delay):
    """Until the process has written an event of a kind (any phase before it if None), and more."""
    before = len(lines(folder))
    while kind is not None and not ended(pid):
        new = [json.loads(line)["event"] for line in lines(folder)[before:] if line[-1:] == b"}"]
        if kind in new:
            break
        time.sleep(0.0005)
    time.sleep(delay)


def last_kind(folder):
    whole = [line for line in lines(folder) if line[-1:] == b"}"]
    return json.loads(whole[-1])["event"] if whole else "nothing"


def killed_while_importing(log, argv, delay):
    """A process started from nothing, killed that many seconds later; its exit code."""
    with log.open("a") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "revive.cli.main", *map(str, argv)],
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
        time.sleep(delay)
        os.killpg(process.pid, signal.SIGKILL)
        return process.wait()


def killed_at_an_event(server, folder, argv, kind, delay):
    """A process that had everything imported, killed after an event; its exit code."""
    pid = server.start(*argv)
    wait_for_moment(pid, folder, kind, delay)
    os.killpg(pid, signal.SIGKILL)
    return server.wait(pid)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
def test_twenty_kills_change_nothing(server, tmp_path, write_spec):
    spec = write_spec()
    calm = tmp_path / "calm" / "run"
    own = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "calm-cache")}
    revive("run", spec, "--out", calm, "--quiet", env=own)
    assert len(batches(calm)) == 7
    rng = random.Random(7)
    kills, killed_after, finished, current = 0, set(), 0, tmp_path / "killed-0" / "run"
    while kills < KILLS or current.exists():
        argv = command(current, spec)
        if kills >= KILLS:
            code = server.wait(server.start(*argv))
        elif kills % 6 == 2:
            code = killed_while_importing(server.log, argv, rng.uniform(0.2, 3.0))
        else:
            # Before the first event of its own come the model, the contexts and the moments.
            kind = rng.choice((None, *EVENTS))
            delay = rng.uniform(0, 0.25 if kind is None else 0.03)
            code = killed_at_an_event(server, current, argv, kind, delay)
        if code == -signal.SIGKILL:
            kills += 1
            killed_after.add(last_kind(current))
            continue
        assert code == 0, server.log.read_text()
        same_end(current, calm)
        finished += 1
        current = tmp_path / f"killed-{finished}" / "run"
    assert finished >= 1
    assert len(killed_after) >= 4, killed_after


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
@pytest.mark.parametrize("undo", [("--to", 3), ("--edit", "home-4")])
def test_a_killed_rollback_happened_or_did_not(server, calm_run, tmp_path, undo):
    done = shutil.copytree(calm_run, tmp_path / "done" / "run")
    assert server.wait(server.start("rollback", done, *undo)) == 0
    possible = [edited_weights(folder) for folder in (calm_run, done)]
    assert not equal_tensors(*possible)
    rng = random.Random(3)
    outcomes = set()
    for turn in range(ROLLBACKS):
        folder = shutil.copytree(calm_run, tmp_path / f"killed-{turn}" / "run")
        pid = server.start("rollback", folder, *undo)
        # The first at once, the last too late; between them over its life and, every other time,
        # from the first file that it adds or removes.
        before = sorted(folder.rglob("*.*"))
        while turn % 2 and sorted(folder.rglob("*.*")) == before and not ended(pid):
            pass
        time.sleep(rng.uniform(0, 0.003 if turn % 2 else 0.06) if turn else 0)
        while turn == ROLLBACKS - 1 and not ended(pid):
            time.sleep(0.001)
        os.killpg(pid, signal.SIGKILL)
        assert server.wait(pid) in (0, -signal.SIGKILL)
        recorded = journal(folder)[-1]["event"] == "rollback"
        assert equal_tensors(edited_weights(folder), possible[recorded])
        outcomes.add(recorded)
        if undo[0] == "--to":
            resume(folder)
            same_end(folder, calm_run)
    assert outcomes == {False, True}
