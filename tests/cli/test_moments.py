"""`revive moments`: one pass ahead of a run, found again by it."""

import json

import torch
from calling import cache, events

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


def test_effective_rank_counts_directions():
    moment = SecondMoment(6)
    moment.update(torch.eye(6)[:3].repeat(4, 1))
    value = moment.value().double()
    assert float(value.trace()) ** 2 / float(value.square().sum()) == 3.0


def test_what_is_refused(revive, model):
    revive("moments", model, "--text", "nowhere.txt", "--quiet").refused(2, "nowhere.txt")
    revive("moments", model, "--layers", "x", "--quiet").refused(2, "--layers", "'x'")
