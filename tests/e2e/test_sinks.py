"""Sinks: what the real packages read back is what the journal says, once each."""

import json
import logging
import os
import shutil
import struct
import subprocess
import sys

import pytest
from e2e_runs import cut_after, journal, run_here

from revive import registry
from revive.errors import PrerequisiteError, SpecError
from revive.run_folder.journal import Journal
from revive.runs.loop import resume
from revive.runs.rollback import rollback_edit, rollback_to
from revive.sinks import dispatch
from revive.sinks.base import Sink
from revive.sinks.points import Points
from revive.sinks.tensorboard import TensorBoard
from revive.spec.parsing import load_spec, named_sinks, parse_spec


def wanted(folder):
    """By tag, the (edits, value) pairs of what stands of a run's journal."""
    found = {}
    for point in Points().past(Journal.read(folder / "journal.jsonl")):
        for tag, value in point.values.items() if point.stands else ():
            found.setdefault(tag, []).append((point.edits, value))
    return found


def on_the_board(folder):
    """The same, as TensorBoard's own reader finds it."""
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    board = reader.EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
    assert board.Tags()["tensors"] == ["spec/text_summary"]
    return {t: [(s.step, s.value) for s in board.Scalars(t)] for t in board.Tags()["scalars"]}


def same(found, expected):
    assert found.keys() == expected.keys()
    for tag, points in expected.items():
        assert [edits for edits, _ in found[tag]] == [edits for edits, _ in points], tag
        values = [value for _, value in found[tag]]
        assert values == pytest.approx([v for _, v in points], rel=1e-6, nan_ok=True), tag


def test_the_board_shows_what_the_journal_says(write_spec, tmp_path):
    run_here(write_spec(edits=5, sinks=["tensorboard"]), tmp_path / "run")
    expected = wanted(tmp_path / "run")
    assert [edits for edits, _ in expected["batch/applied"]] == [2, 4, 5]
    assert [edits for edits, _ in expected["measure/efficacy"]] == [0, 5]
    assert all(value > 0 for _, value in expected["batch/removed"])
    same(on_the_board(tmp_path / "run" / "tensorboard"), expected)


def test_a_resumed_run_goes_on_without_doubled_steps(write_spec, tmp_path):
    run = tmp_path / "run"
    run_here(write_spec(edits=8, sinks=["tensorboard"]), run)
    cut_after(run, "batch", 2)
    resume(run)
    same(on_the_board(run / "tensorboard"), wanted(run))
    rollback_to(run, 1)
    resume(run)
    rollback_edit(run, "home-7", measure=False)
    resume(run)
    expected = wanted(run)
    assert [edits for edits, _ in expected["batch/applied"]] == [2, 4, 6, 8]
    assert [edits for edits, _ in expected["measure/efficacy"]] == [0, 6, 8]
    same(on_the_board(run / "tensorboard"), expected)


def test_a_finished_run_is_told_from_its_beginning(run_folder):
    assert resume(run_folder, sinks=named_sinks(["tensorboard"]))["edits"] == 13
    same(on_the_board(run_folder / "tensorboard"), wanted(run_folder))
    assert [s.name for s in load_spec(run_folder / "spec.yaml").sinks] == ["tensorboard"]


class Broken(Sink):
    """Takes two events, then fails for ever; greets on stdout like services do."""

    name = "broken"
    summary = "fails"
    calls = 0

    def open(self, run, past):
        print("welcome to broken")

    def receive(self, point):
        type(self).calls += 1
        if self.calls > 2:
            raise OSError("no route to host")

    def close(self):
        raise AssertionError("a sink that failed is left alone")


def test_a_sink_that_fails_warns_once_and_stops_nothing(
    write_spec, calm_run, tmp_path, monkeypatch, caplog, capfd
):
    monkeypatch.setattr(Broken, "calls", 0)
    monkeypatch.setattr(dispatch, "make_sinks", lambda specs: [Broken(), TensorBoard()])
    monkeypatch.setattr("revive.runs.loop.make_sinks", dispatch.make_sinks)
    with caplog.at_level(logging.WARNING):
        run_here(write_spec(edits=5, sinks=["tensorboard"]), tmp_path / "run")
    (warning,) = [r.getMessage() for r in caplog.records if "sink" in r.getMessage()]
    assert "sink broken failed and is left out from here on (no route to host)" in warning
    assert Broken.calls == 3
    assert journal(tmp_path / "run")[-1]["event"] == "finish"
    # The other sink is none the worse for it.
    same(on_the_board(tmp_path / "run" / "tensorboard"), wanted(tmp_path / "run"))
    written = capfd.readouterr()
    assert "welcome" in written.err
    assert "welcome" not in written.out


def test_sinks_change_nothing_of_a_run(write_spec, tmp_path):
    run_here(write_spec(edits=3), tmp_path / "without")
    run_here(write_spec(edits=3, sinks=["tensorboard"]), tmp_path / "with")
    updates = [
        {p.name: p.read_bytes() for p in (tmp_path / n / "updates").iterdir()}
        for n in ("without", "with")
    ]
    assert updates[0] == updates[1]


def test_a_missing_package_names_the_extra_before_anything_is_done(
    write_spec, tmp_path, monkeypatch
):
    monkeypatch.setattr(TensorBoard, "package", "no_such_package")
    with pytest.raises(PrerequisiteError, match=r"'no_such_package'.*'revive-edit\[sinks\]'"):
        run_here(write_spec(edits=2, sinks=["tensorboard"]), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_specs_name_sinks_and_their_settings():
    assert registry.names("sinks") == ("tensorboard", "wandb", "trackio")
    whole = {"model": "lab", "edits": "lab", "sinks": ["wandb", {"name": "tensorboard"}]}
    assert [s.name for s in parse_spec(whole).sinks] == ["wandb", "tensorboard"]
    with pytest.raises(SpecError, match=r"sinks\.0\.projekt: unknown key.*Did you mean 'project'"):
        parse_spec({**whole, "sinks": [{"name": "wandb", "projekt": "x"}]})
    with pytest.raises(SpecError, match=r"Unknown sink 'tensorbord'. Did you mean 'tensorboard'"):
        named_sinks(["tensorbord"])


SERVICE = """
import sys, json
from pathlib import Path
from revive.runs.loop import resume
resume(Path(sys.argv[1]))
"""


def in_process(folder, **variables):
    """Resume in a process of its own: services keep threads and children."""
    done = subprocess.run(
        [sys.executable, "-c", SERVICE, str(folder)],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert "left out" not in done.stderr, done.stderr


def prepared(calm_run, folder, name):
    """A run that was cut after its second batch and has a sink."""
    shutil.copytree(calm_run, folder)
    cut_after(folder, "batch", 2)
    text = (folder / "spec.yaml").read_text("utf-8")
    (folder / "spec.yaml").write_text(text.replace("sinks: []", f"sinks: [{name}]"), "utf-8")
    assert [s.name for s in load_spec(folder / "spec.yaml").sinks] == [name]
    return folder


def sent(folder):
    """By journal line, what services are to have."""
    points = Points().past(Journal.read(folder / "journal.jsonl"))
    return {p.index: {**p.values, "edits": p.edits} for p in points if p.values}


def records(content):
    """Records of a W&B file: 7 bytes of head, then LevelDB's log format, in blocks of 32 KiB."""
    assert content[:4] == b":W&B"
    at, whole = 7, b""
    while at + 7 <= len(content):
        left = 32768 - at % 32768
        if left < 7:
            at += left
            continue
        length, kind = struct.unpack("<HB", content[at + 4 : at + 7])
        whole += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield whole
            whole = b""


def test_wandb_offline_holds_every_line_once(calm_run, tmp_path):
    pytest.importorskip("wandb")
    from wandb.proto import wandb_internal_pb2

    run = prepared(calm_run, tmp_path / "run", "wandb")
    offline = {"WANDB_MODE": "offline", "WANDB_SILENT": "true", "HOME": str(tmp_path)}
    in_process(run, **offline)
    rollback_edit(run, "home-12", measure=False)
    in_process(run, **offline)
    rows, ids = [], set()
    for path in sorted(run.glob("wandb/offline-run-*/*.wandb")):
        for data in records(path.read_bytes()):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(data)
            if record.HasField("run"):
                ids.add(record.run.run_id)
            if record.HasField("history"):
                items = {
                    "/".join(i.nested_key) or i.key: json.loads(i.value_json)
                    for i in record.history.item
                }
                rows.append(items)
    assert len(ids) == 1
    expected = sent(run)
    assert [row["_step"] for row in rows] == list(expected)
    for row in rows:
        for name, value in expected[row["_step"]].items():
            assert float(row[name]) == pytest.approx(float(value), nan_ok=True)


def test_trackio_holds_every_line_once(calm_run, tmp_path):
    pytest.importorskip("trackio")
    run = prepared(calm_run, tmp_path / "run", "trackio")
    local = {"TRACKIO_DIR": str(tmp_path / "store"), "HF_HUB_OFFLINE": "1"}
    in_process(run, **local)
    rollback_edit(run, "home-12", measure=False)
    in_process(run, **local)
    read = (
        "import json, sys, trackio\n"
        "(run,) = trackio.Api().runs('revive')\n"
        "from trackio.sqlite_storage import SQLiteStorage\n"
        "print('rows ' + json.dumps(SQLiteStorage.get_logs('revive', run.name), default=str))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", read],
        env={**os.environ, **local},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout.partition("rows ")[2])
    expected = sent(run)
    assert [row["step"] for row in rows] == list(expected)
    for row in rows:
        for name, value in expected[row["step"]].items():
            assert float(row[name]) == pytest.approx(float(value), nan_ok=True)
