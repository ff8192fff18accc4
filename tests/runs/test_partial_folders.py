"""What is written beside its place has a name that nobody else has."""

import os
import subprocess
import sys

import pytest

from revive.io.atomic import is_partial, remove_partials, replacing
from revive.models.saving import appearing


def contents(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*"))


def test_a_folder_of_the_users_own_stays(tmp_path):
    mine = tmp_path / "out.partial"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years")
    with appearing(tmp_path / "out") as partial:
        (partial / "model").write_text("new")
    assert (mine / "thesis.txt").read_text() == "years"

    def fail():
        with appearing(tmp_path / "other") as partial:
            (partial / "model").write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert contents(tmp_path) == ["out", "out.partial", "out.partial/thesis.txt", "out/model"]


def test_two_at_once_do_not_meet(tmp_path):
    with appearing(tmp_path / "a") as first, appearing(tmp_path / "b") as second:
        assert first != second
        (first / "one").write_text("")
    assert contents(tmp_path) == ["a", "a/one", "b"]


KILLED = """
import os, pathlib, sys
from revive.models.saving import appearing
with appearing(pathlib.Path(sys.argv[1])) as partial:
    (partial / "model").write_text("half")
    os.kill(os.getpid(), 9)
"""


def test_what_a_killed_process_left_is_removed_and_nothing_else(tmp_path):
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "out")], check=False)
    (left,) = tmp_path.iterdir()
    assert (left / "model").exists()
    living = tmp_path / left.name.replace(left.name.split("-")[-2], str(os.getppid()))
    elsewhere = tmp_path / left.name.replace("revive-", "revive-another", 1)
    for other in (living, elsewhere, tmp_path / ".revive-notes.partial"):
        other.mkdir()
    with appearing(tmp_path / "out"):
        pass
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(
        [".revive-notes.partial", living.name, elsewhere.name, "out"]
    )


def test_in_a_run_folder_only_half_written_files_of_ours_are_removed(tmp_path):
    with replacing(tmp_path / "spec.yaml") as partial:
        partial.write_text("half")
        assert is_partial(partial)
        (tmp_path / ".notes.partial").write_text("mine")
        (tmp_path / ".folder.12.partial").mkdir()
        (tmp_path / ".spec.yaml.4711.partial").write_text("of an older version")
        remove_partials(tmp_path)
        assert contents(tmp_path) == [".folder.12.partial", ".notes.partial"]
        partial.write_text("whole")
    assert (tmp_path / "spec.yaml").read_text() == "whole"
