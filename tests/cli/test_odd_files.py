"""Files that are none, texts that are no facts, folders that are taken: told before any work."""

import csv
import io
import os
import socket
import threading

import pytest
from calling import edit, files, write_edits

from revive.data.readers import load_edits
from revive.metrics.per_edit import EditRow, to_csv
from revive.report.tables import csv_text
from revive.wording import cell


@pytest.fixture
def special(tmp_path):
    """What can be named like a file and is none: reading it never ends, or never begins."""
    pipe, sock = tmp_path / "pipe", tmp_path / "s"
    os.mkfifo(pipe)
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(sock))
        yield {"pipe": pipe, "device": "/dev/zero", "socket": sock}


@pytest.mark.parametrize("kind", ["pipe", "device", "socket"])
def test_what_is_no_file_is_refused_wherever_a_file_is_named(revive, spec, model, special, kind):
    place, told = special[kind], "is a pipe or a device, not a file"
    revive("check", spec(edits={"path": str(place)})).refused(2, str(place), told)
    revive("check", place).refused(2, told)
    revive("run", place, "--out", "o").refused(2, told)
    revive("sweep", place).refused(2, told)
    revive("edit", model, place, "--out", "o", "--quiet").refused(2, told)
    revive("evaluate", model, "--edits", place, "--quiet").refused(2, told)
    given = ("--quiet", "--device", "cpu", "--tasks", "general", "--text", place)
    revive("evaluate", model, *given).refused(2, told)
    path = spec(moments={"text": [str(place)]})
    revive("run", path, "--out", "o", "--quiet").refused(2, told)


def test_a_text_that_is_no_text_is_named(revive, spec, tmp_path):
    (tmp_path / "bytes").write_bytes(b"\xff\xfe" * 40)
    path = spec(moments={"text": ["bytes"]})
    ran = revive("run", path, "--out", "out", "--quiet")
    ran.refused(2, "moments.text: ", "bytes is not UTF-8 text")


@pytest.mark.parametrize(
    "fields",
    [
        {"prompt": "Ada lives in " + "x" * 50_000_000},
        {"target_new": "x" * 100_001},
        {"subject": "A" * 100_001, "prompt": "{} lives in"},
        {"paraphrases": ["x", "y" * 100_001]},
        {"neighborhood": [{"prompt": "z" * 200_000, "target": "x"}]},
        {"references": ["z" * 200_000]},
        {"id": "i" * 200_000},
    ],
)
def test_a_text_longer_than_any_model_reads_is_refused(revive, spec, edits, fields):
    write_edits(edits, edit(1), edit(0, **fields))
    ran = revive("check", spec())
    ran.refused(2, f"{edits}, line 2: holds a text of ", "characters, which no model reads")
    assert len(ran.err) < 500


def test_a_long_text_that_a_model_may_read_is_taken(edits):
    write_edits(edits, edit(0, prompt="Ada lives in " + "x" * 90_000))
    assert len(load_edits(edits).edits) == 1


FORMULAS = ("=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1")


@pytest.mark.parametrize("text", FORMULAS)
def test_no_cell_of_a_table_is_a_formula(text):
    row = EditRow(text, prompt=text, target_new=text, now=text)
    rows = list(csv.reader(io.StringIO(to_csv([(text, row)], "arm"))))
    cells = [value for value in rows[1] if value]
    assert sum(value.endswith(text.strip()) for value in cells) >= 4
    assert not any(value.startswith(("=", "+", "-", "@", "\t", "\r")) for value in cells)
    assert csv_text([[text]]).strip('"').startswith("'")


@pytest.mark.parametrize("value", [-0.5, "-0.5", "+1e-3", "-inf", "plain", "", "1-2", None])
def test_numbers_and_other_texts_stay_as_they_are(value):
    assert cell(value) == value


@pytest.mark.parametrize("form", ["hf", "delta", "lora"])
@pytest.mark.parametrize("place", [".", "here"])
def test_an_output_cannot_take_the_place_of_where_one_is(
    revive, spec, tmp_path, monkeypatch, form, place
):
    assert revive("run", spec(), "--out", "out", "--quiet").code == 0
    before = files(tmp_path / "out")
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    out = here if place == "here" else place
    ran = revive("export", tmp_path / "out", out, "--format", form, "--quiet")
    ran.refused(2, "is the folder that you are in, or above it", "name a new one")
    assert here.is_dir()
    assert list(here.iterdir()) == []
    assert files(tmp_path / "out") == before
    (tmp_path / "spec.yaml").unlink()
    given = (tmp_path / "edits.jsonl", "--out", out, "--quiet")
    revive("edit", "lab", *given).refused(2, "is the folder that you are in", "name a new one")
    rolled = revive("rollback", tmp_path / "out", "--to", "1", "--out", out)
    rolled.refused(2, "is the folder that you are in")
    # Named, a new folder in it is taken.
    monkeypatch.chdir(here)
    assert revive("export", tmp_path / "out", "new", "--format", form, "--quiet").code == 0


def test_reading_a_pipe_would_have_waited(tmp_path):
    """Negative control: nobody writes, and a reader waits."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: pipe.read_text("utf-8"), daemon=True)
    reader.start()
    reader.join(0.2)
    assert reader.is_alive()
    pipe.write_text("x", "utf-8")
    reader.join()
