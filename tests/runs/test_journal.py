import errno
import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from revive.errors import PrerequisiteError, SpecError
from revive.run_folder.journal import KINDS, SCHEMA, Journal, JournalReader
from revive.run_folder.journal_witness import witness_of

BATCH: dict[str, Any] = {
    "edits": ["a", "Zoë", "NaN"],
    "sites": {
        "h.1": {
            "asked": 1.5,
            "applied": math.inf,
            "removed": {"uk_vk": math.nan, "rest_rest": 0.0},
            "leak": -math.inf,
        }
    },
    "seconds": {"targets": 0.25},
    "made": ["a", "Zoë"],
    "failed": [],
}
START: dict[str, Any] = {"edits": 9, "edits_fingerprint": "0"}


def written(path: Path, batches: int = 3) -> Journal:
    journal = Journal.open(path)
    journal.append("start", 0, run="x", **START)
    journal.append("measure", 0, edits=0, metrics={"perplexity": math.nan})
    for step in range(1, batches + 1):
        journal.append("batch", step, **BATCH)
    return journal


def same(a: object, b: object) -> bool:
    return repr(a) == repr(b)


def test_what_is_appended_is_read_back_number_for_number(tmp_path: Path):
    path = tmp_path / "journal.jsonl"
    events = written(path).events()
    assert same(Journal.read(path), events)
    batch = events[-1]
    assert batch["edits"] == ["a", "Zoë", "NaN"]
    site = batch["sites"]["h.1"]
    assert site["applied"] == math.inf
    assert site["leak"] == -math.inf
    assert math.isnan(site["removed"]["uk_vk"])
    assert {"event", "time", "step", "schema"} <= set(batch)


def test_the_file_is_strict_json_with_non_finite_numbers_as_text(tmp_path: Path):
    path = tmp_path / "journal.jsonl"
    written(path)

    def refuse(name: str) -> None:
        raise AssertionError(name)

    rows = [json.loads(x, parse_constant=refuse) for x in path.read_text("utf-8").splitlines()]
    assert rows[-1]["sites"]["h.1"]["applied"] == "Infinity"
    assert rows[-1]["sites"]["h.1"]["removed"]["uk_vk"] == "NaN"
    assert rows[-1]["sites"]["h.1"]["leak"] == "-Infinity"


def test_the_folder_knows_a_new_journal_before_its_first_line_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """After a power cut a file that no folder names is gone, whatever of it was flushed."""
    flushed: list[int] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        flushed.append(os.fstat(descriptor).st_ino)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    journal = Journal.open(tmp_path / "journal.jsonl")
    journal.append("start", 0, **START)
    file, folder = (p.stat().st_ino for p in (tmp_path / "journal.jsonl", tmp_path))
    assert flushed == [file, folder]
    journal.append("batch", 1, **BATCH)
    assert flushed == [file, folder, file]


def test_the_file_only_grows(tmp_path: Path):
    path = tmp_path / "journal.jsonl"
    journal = written(path)
    before = path.read_bytes()
    journal.append("finish", 3)
    assert path.read_bytes().startswith(before)


def test_torn_at_every_byte_what_was_whole_survives(tmp_path: Path):
    path = tmp_path / "journal.jsonl"
    events = written(path, batches=2).events()
    content = path.read_bytes()
    ends = [i + 1 for i, byte in enumerate(content) if byte == ord("\n")]
    for length in range(len(content) + 1):
        path.write_bytes(content[:length])
        witness_of(path).unlink(missing_ok=True)  # none of these lines was ever acknowledged
        whole = sum(end <= length for end in ends)
        assert same(Journal.read(path), events[:whole])
        assert path.stat().st_size == length
        journal = Journal.open(path)
        assert same(journal.events(), events[:whole])
        assert journal.torn_bytes == length - ([0, *ends][whole])
        assert (journal.note is None) == (journal.torn_bytes == 0)
        assert path.read_bytes() == content[: [0, *ends][whole]]
        journal.append("resume", journal.committed_step())
        assert Journal.read(path)[-1]["event"] == "resume"


def test_a_reader_sees_every_line_once_and_only_when_it_is_whole(tmp_path: Path):
    path = tmp_path / "journal.jsonl"
    reader = JournalReader(path)
    assert reader.new() == []
    events = written(path, batches=2).events()
    content = path.read_bytes()
    path.write_bytes(b"")
    found: list[Any] = []
    for end in range(0, len(content) + 1, 7):
        path.write_bytes(content[:end])
        found += reader.new()
    path.write_bytes(content)
    found += reader.new()
    assert same(found, events)
    assert reader.new() == []
    path.write_bytes(content + b"[]\n{}\n")
    with pytest.raises(SpecError, match=f"line {len(events) + 1}"):
        reader.new()


@given(st.binary(min_size=1, max_size=60).filter(lambda b: b"\n" not in b))
@settings(max_examples=60, deadline=None)
def test_garbage_in_the_last_line_is_cut_off(tmp_path_factory: Any, garbage: bytes):
    path = tmp_path_factory.mktemp("run") / "journal.jsonl"
    events = written(path, batches=1).events()
    with path.open("ab") as file:
        file.write(garbage)
    assert same(Journal.open(path).events(), events)


def test_a_last_line_of_zeros_is_torn(tmp_path: Path):
    path = tmp_path / "journal.jsonl"
    events = written(path).events()
    with path.open("ab") as file:
        file.write(b"\0" * 512 + b"\n")
    journal = Journal.open(path)
    assert same(journal.events(), events)
    assert journal.note is not None
    assert "513 bytes" in journal.note


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"", "line 2: is not JSON"),
        (b'{"event": "bat', "line 2: is not JSON"),
        (b"[]", "line 2: is not an object"),
        (b'{"time": 0, "step": 0, "schema": 1}', "line 2: has no 'event'"),
        (b'{"event": "batch", "time": 0, "step": true, "schema": 1}', "has no 'step'"),
        (b'{"event": "batch", "time": 0, "step": 1, "schema": 1}', "has no 'edits'"),
        (b'{"event": "party", "time": 0, "step": 1, "schema": 1}', "unknown event 'party'"),
        (b'{"event": "resume", "time": 0, "step": -1, "schema": 1}', "negative step"),
        (b'{"event": "x", "time": 0, "step": 0, "schema": 2}', "made by a newer revive"),
    ],
)
def test_a_damaged_line_in_the_middle_is_refused(tmp_path: Path, line: bytes, expected: str):
    path = tmp_path / "journal.jsonl"
    written(path)
    lines = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join([lines[0], line, *lines[2:]]))
    before = path.read_bytes()
    for reader in (Journal.read, Journal.open):
        with pytest.raises(SpecError) as caught:
            reader(path)
        assert expected in str(caught.value)
        assert "line 2" in str(caught.value)
    assert path.read_bytes() == before


def test_a_whole_last_line_that_is_no_event_is_no_tear(tmp_path: Path):
    path = tmp_path / "journal.jsonl"
    written(path)
    with path.open("ab") as file:
        file.write(b'{"event": "party", "time": 0, "step": 1, "schema": 1}\n')
    with pytest.raises(SpecError, match="unknown event"):
        Journal.open(path)


def test_a_missing_journal_is_an_empty_one(tmp_path: Path):
    assert Journal.read(tmp_path / "none") == []
    assert Journal.open(tmp_path / "none").committed_step() == 0
    assert not (tmp_path / "none").exists()


def test_the_committed_step_honours_rollbacks(tmp_path: Path):
    journal = written(tmp_path / "journal.jsonl")
    assert journal.committed_step() == 3
    journal.append("rollback", 1, to=1)
    assert journal.committed_step() == 1
    journal.append("batch", 2, **BATCH)
    assert journal.committed_step() == 2
    journal.append("rollback", 2, edit="a", batch=1)
    assert Journal.open(journal.path).committed_step() == 2
    journal.append("rollback", 0, to=0)
    assert journal.committed_step() == 0


@given(st.lists(st.one_of(st.none(), st.integers(0, 6)), max_size=12))
@settings(max_examples=40, deadline=None)
def test_any_history_of_batches_and_rollbacks_counts_right(
    tmp_path_factory: Any, history: list[int | None]
):
    journal = Journal.open(tmp_path_factory.mktemp("run") / "journal.jsonl")
    step = 0
    for to in history:
        if to is None:
            step += 1
            journal.append("batch", step, **BATCH)
        else:
            step = min(step, to)
            journal.append("rollback", step, to=step)
    assert Journal.open(journal.path).committed_step() == step


def test_a_batch_out_of_turn_is_refused(tmp_path: Path):
    journal = written(tmp_path / "journal.jsonl")
    before = journal.path.read_bytes()
    for step in (3, 5):
        with pytest.raises(ValueError, match=f"is batch {step} after 3"):
            journal.append("batch", step, **BATCH)
    assert journal.path.read_bytes() == before


def test_what_is_no_event_is_not_written(tmp_path: Path):
    journal = Journal.open(tmp_path / "journal.jsonl")
    with pytest.raises(TypeError, match="has no 'edits'"):
        journal.append("batch", 1)
    with pytest.raises(TypeError):
        journal.append("alarm", 0, what=object())
    assert not journal.path.exists()


def test_kinds_and_schema_are_the_contracts():
    assert SCHEMA == 1
    assert set(KINDS) == {
        *("start", "batch", "measure", "checkpoint"),
        *("resume", "rollback", "alarm", "finish"),
    }


@pytest.mark.parametrize("call", ["write", "fsync"])
def test_a_full_disk_leaves_the_journal_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
):
    journal = written(tmp_path / "journal.jsonl")
    before = journal.path.read_bytes()
    real = os.write

    def full(descriptor: int, data: bytes = b"") -> int:
        if data:
            real(descriptor, data[:7])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, call, full)
    with pytest.raises(PrerequisiteError, match="no space left"):
        journal.append("batch", 4, **BATCH)
    monkeypatch.undo()
    assert journal.path.read_bytes() == before
    assert journal.committed_step() == 3
    journal.append("batch", 4, **BATCH)
    assert Journal.open(journal.path).committed_step() == 4


def test_a_short_write_is_undone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    journal = written(tmp_path / "journal.jsonl")
    before = journal.path.read_bytes()
    real = os.write
    monkeypatch.setattr(os, "write", lambda d, data: real(d, data[:9]))
    with pytest.raises(PrerequisiteError):
        journal.append("finish", 3)
    assert journal.path.read_bytes() == before


def test_killed_while_appending_every_acknowledged_line_is_there(tmp_path: Path):
    path = tmp_path / "journal.jsonl"
    code = (
        "import sys\nfrom pathlib import Path\nfrom revive.run_folder.journal import Journal\n"
        f"journal = Journal.open(Path({str(path)!r}))\n"
        "step = 0\n"
        "while True:\n"
        "    step += 1\n"
        "    journal.append('batch', step, edits=['x' * 500], made=[], failed=[], "
        "sites={}, seconds={})\n"
        "    print(step, flush=True)\n"
    )
    for _ in range(3):
        path.unlink(missing_ok=True)
        witness_of(path).unlink(missing_ok=True)
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        told = [int(line) for line in process.stdout.read().split()]
        process.wait()
        process.stdout.close()
        assert Journal.open(path).committed_step() >= max(told, default=1)
