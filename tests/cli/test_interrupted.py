"""Ctrl-C: the run stops with 130 and goes on where it stopped."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from calling import Ran, arguments, environment, events, updates

LOADED_EARLY = ("libtorch_cpu", "tokenizers")
SLOW = {"steps": 100, "stop_loss": 0.0, "clamp": 0.5}


def start(tmp_path, *args):
    return subprocess.Popen(
        arguments(*args),
        env=environment(tmp_path),
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A suite that runs in the background ignores SIGINT, and would pass that on.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def press_ctrl_c(process, *told):
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=120)
    Ran(process.returncode, out, err).refused(130, "interrupted", *told)


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs /proc to see an import")
@pytest.mark.parametrize("library", LOADED_EARLY)
def test_ctrl_c_while_libraries_are_imported(spec, tmp_path, library):
    process = start(tmp_path, "run", spec(), "--out", "run", "--quiet")
    maps = Path(f"/proc/{process.pid}/maps")
    deadline = time.monotonic() + 300
    while library not in maps.read_text() and time.monotonic() < deadline:
        time.sleep(0.002)
    press_ctrl_c(process, "nothing was written yet")
    assert not (tmp_path / "run").exists()


IN_A_DESTRUCTOR = """
import os, signal, time
from revive.cli.interrupt import CtrlC, Interrupt

class Slow:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0)

interrupt = Interrupt()
slow = Slow()
try:
    del slow
    time.sleep(60)
except CtrlC:
    print("stopped", interrupt.came)
"""


def test_ctrl_c_in_a_destructor_is_not_lost(tmp_path):
    # Python prints and drops what is raised there; the run went on to its end.
    ran = subprocess.run(
        [sys.executable, "-c", IN_A_DESTRUCTOR],
        capture_output=True,
        text=True,
        check=False,
        # As in `start`: a suite that runs in the background ignores SIGINT.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert (ran.stdout.strip(), ran.stderr) == ("stopped True", "")


@pytest.mark.parametrize("batches", [0, 2])
def test_ctrl_c_keeps_what_was_committed(revive, spec, edits, tmp_path, batches):
    path = spec(edits={"path": str(edits), "batch_size": 1}, editor=SLOW)
    process = start(tmp_path, "run", path, "--out", "run", "--quiet")
    wanted = ["start"] + ["batch"] * batches
    journal = tmp_path / "run" / "journal.jsonl"
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and process.poll() is None:
        kinds = events(tmp_path / "run") if journal.exists() else []
        if [k for k in kinds if k in ("start", "batch")][: len(wanted)] == wanted:
            break
        time.sleep(0.005)
    press_ctrl_c(process, "kept in run:", "'revive resume run' continues")
    assert batches <= len(updates(tmp_path / "run")) < 6
    assert "finish" not in events(tmp_path / "run")
    status = revive("status", "run")
    assert status.code == 0
    assert "interrupted; 'revive resume run' continues" in status.err

    assert revive("resume", "run", "--quiet").code == 0
    assert events(tmp_path / "run")[-1] == "finish"
    assert revive("run", path, "--out", "undisturbed", "--quiet").code == 0
    assert updates(tmp_path / "run") == updates(tmp_path / "undisturbed")
    assert len(updates(tmp_path / "run")) == 6
