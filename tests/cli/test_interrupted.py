"""Ctrl-C: the run stops with 130 and goes on where it stopped."""

import os
import signal
import subprocess
import time

import pytest
from calling import Ran, arguments, environment, events, updates

SLOW = {"steps": 100, "stop_loss": 0.0, "clamp": 0.5}


@pytest.mark.parametrize("batches", [0, 2])
def test_ctrl_c_keeps_what_was_committed(revive, spec, edits, tmp_path, batches):
    path = spec(edits={"path": str(edits), "batch_size": 1}, editor=SLOW)
    process = subprocess.Popen(
        arguments("run", path, "--out", "run", "--quiet"),
        env=environment(tmp_path),
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    wanted = ["start"] + ["batch"] * batches
    journal = tmp_path / "run" / "journal.jsonl"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        kinds = events(tmp_path / "run") if journal.exists() else []
        if [k for k in kinds if k in ("start", "batch")][: len(wanted)] == wanted:
            break
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    Ran(process.returncode, out, err).refused(130, "interrupted", "kept", "'revive resume RUN'")
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
