"""kill -9 at any moment, then resume: the same files, to the bit, as an undisturbed run."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from e2e_runs import (
    batches,
    revive,
    same_end,
)

KILLS = 20
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
        return self.ask(wait=pid)

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


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
def test_twenty_kills_change_nothing(server, tmp_path, write_spec):
    spec = write_spec()
    calm = tmp_path / "calm" / "run"
    own = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "calm-cache")}
    revive("run", spec, "--out", calm, "--quiet", env=own)
    assert len(batches(calm)) == 7
    rng = random.Random(7)
    kills, killed_at, finished = 0, set(), 0
    while kills < KILLS or not (tmp_path / f"killed-{finished - 1}").exists():
        folder = tmp_path / f"killed-{finished}" / "run"
        pid = server.start(*command(folder, spec))
        if kills < KILLS:
            # Before the first event of its own come the model, the contexts and the moments.
            kind = rng.choice((None, *EVENTS))
            wait_for_moment(pid, folder, kind, rng.uniform(0, 0.25 if kind is None else 0.03))
            os.killpg(pid, signal.SIGKILL)
        status = server.wait(pid)
        if os.WIFSIGNALED(status):
            assert os.WTERMSIG(status) == signal.SIGKILL
            kills += 1
            killed_at.add(last_kind(folder))
            continue
        assert os.waitstatus_to_exitcode(status) == 0, server.log.read_text()
        finished += 1
        same_end(folder, calm)
    assert len(killed_at) >= 4, killed_at
