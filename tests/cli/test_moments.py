"""`revive moments`: one pass ahead of a run, found again by it; by one process or several."""

import json
import os
import subprocess
import sys

import torch
from calling import cache, environment, events

from revive.linalg.moments import SecondMoment


def kept(tmp_path):
    folder = cache(tmp_path) / "revive"
    return {p.name: p.stat().st_mtime_ns for p in folder.glob("moments-*.safetensors")}


def test_a_run_finds_what_was_computed_ahead(revive, model, spec, tmp_path):
    path = spec()
    text = tmp_path / "corpus.txt"
    ran = revive("moments", model, "--text", text, "--layers", "0,1", "--json")
    assert (ran.code, ran.err) == (0, "")
    rows = json.loads(ran.out)
    assert [r["site"] for r in rows] == [f"model.layers.{i}.mlp.down_proj.weight" for i in (0, 1)]
    assert all(r["keys"] > 0 and 1 <= r["effective_rank"] <= 48 for r in rows)
    before = kept(tmp_path)
    assert len(before) == 1
    assert revive("run", path, "--out", "run", "--quiet").code == 0
    assert kept(tmp_path) == before
    assert "finish" in events(tmp_path / "run")


TORCHRUN = ("torch.distributed.run", "--nproc-per-node", "2", "-m", "revive.cli.main")


def torchrun(tmp_path, *args):
    return subprocess.run(
        [sys.executable, "-m", *TORCHRUN, "moments", *map(str, args)],
        env=environment(tmp_path),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=240,
    )


def test_torchrun_keeps_and_prints_what_one_process_does(revive, model, spec, tmp_path):
    spec()
    call = ("moments", model, "--text", tmp_path / "corpus.txt", "--layers", "0,1", "--json")
    shared = torchrun(tmp_path, *call[1:])
    assert shared.returncode == 0, shared.stderr
    assert "Loading" not in shared.stderr
    before = kept(tmp_path)
    contents = [p.read_bytes() for p in (cache(tmp_path) / "revive").glob("moments-*")]
    # One table, not one a process; a process that is alone finds the file, and makes the same.
    assert revive(*call).out == shared.stdout
    assert kept(tmp_path) == before
    os.remove(cache(tmp_path) / "revive" / next(iter(before)))
    assert revive(*call).out == shared.stdout
    again = [p.read_bytes() for p in (cache(tmp_path) / "revive").glob("moments-*")]
    assert again == contents


def test_what_torchrun_is_refused_is_told_by_one_process(model, tmp_path):
    done = torchrun(tmp_path, model, "--text", "nowhere.txt", "--quiet")
    assert done.returncode != 0
    assert done.stdout == ""
    assert done.stderr.count("revive: moments.text: cannot read nowhere.txt") == 1


def test_effective_rank_counts_directions():
    moment = SecondMoment(6)
    moment.update(torch.eye(6)[:3].repeat(4, 1))
    value = moment.value().double()
    assert float(value.trace()) ** 2 / float(value.square().sum()) == 3.0


def test_what_is_refused(revive, model):
    revive("moments", model, "--text", "nowhere.txt", "--quiet").refused(2, "nowhere.txt")
    revive("moments", model, "--layers", "x", "--quiet").refused(2, "--layers", "'x'")
