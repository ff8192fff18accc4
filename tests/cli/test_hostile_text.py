"""Ids, labels and files that hold markup or escape sequences: shown, never obeyed."""

import fcntl
import json
import logging

import pytest
from calling import edit, events, write_edits

from revive.cli.commands import check
from revive.cli.output import plain

ESCAPE = "\x1b]0;owned\x07\x1b[2J"
HOSTILE = f"[/x] [bold]{ESCAPE}\u202e\x9b31m"


def harmless(ran):
    """No control character but those of lines and bars reached a stream, and no override."""
    for stream in (ran.out, ran.err):
        assert not [c for c in stream if (ord(c) < 32 and c not in "\n\t\r") or 127 <= ord(c) < 160]
        assert "\u202e" not in stream
    assert "MarkupError" not in ran.err
    return ran


def test_plain_text_keeps_its_letters_and_nothing_else():
    assert plain("Łódź 東京\n\tשלום e\u0301 👩\u200d🔬") == "Łódź 東京\n\tשלום e\u0301 👩\u200d🔬"
    assert plain("\x1b[2J\r\x7f\x9b\u202eabc\ud800") == r"\x1b[2J\r\x7f\x9b\u202eabc\ud800"


@pytest.fixture
def hostile(revive, spec, edits, tmp_path):
    """A finished run whose ids, label, targets and prompts are hostile."""
    rows = [
        edit(n, id=f"{HOSTILE}{n}", target_new=f"{edit(n)['target_new']} {HOSTILE}")
        for n in range(4)
    ]
    write_edits(edits, *rows)
    path = spec(label=HOSTILE)
    done = harmless(revive("run", path, "--out", "run"))
    assert done.code == 0, done.err
    return tmp_path / "run"


def test_a_rollback_of_a_hostile_id_says_what_it_did(revive, hostile):
    for number in (0, 1):
        more = ["--json"] if number else []
        done = harmless(revive("rollback", hostile, "--edit", f"{HOSTILE}{number}", *more))
        assert done.code == 0, done.err
        assert events(hostile).count("rollback") == number + 1
        assert "[/x] [bold]" in done.out
    assert json.loads(done.out)["removed"] == [f"{HOSTILE}1"]


def test_every_command_on_a_hostile_run_is_harmless(revive, hostile):
    for command in (
        ("status", hostile),
        ("status", hostile, "--json"),
        ("report", hostile, hostile, "--out", "page", "--table", "md"),
        ("report", hostile, "--out", "page2", "--table", "csv"),
        ("resume", hostile),
        ("export", hostile, "out"),
        ("rollback", hostile, "--edit", "nobody"),
    ):
        ran = harmless(revive(*command))
        assert ran.code in (0, 2), (command, ran.err)


def test_errors_and_warnings_show_what_they_quote(revive, spec, edits, tmp_path):
    write_edits(edits, edit(0, **{HOSTILE: 1}), edit(1))
    assert "ignoring unknown fields" in harmless(revive("check", spec())).err
    write_edits(edits, edit(0, id=HOSTILE), edit(1, id=HOSTILE))
    harmless(revive("check", spec())).refused(2, "is taken by")
    harmless(revive("check", f"{ESCAPE}.yaml")).refused(2, "no such file")
    harmless(revive("list", HOSTILE))


def test_what_a_lock_file_says_is_shown(revive, hostile):
    lock = hostile / ".lock"
    lock.write_text(ESCAPE + "7\n", "utf-8")
    with lock.open("r+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        harmless(revive("rollback", hostile, "--to", "0")).refused(2, "is writing this run")


def test_libraries_warnings_are_shown_too(revive, spec, monkeypatch):
    def warn(*_args):
        logging.getLogger("some.library").warning("careful: %s", ESCAPE)

    monkeypatch.setattr(check, "say_text", lambda *_, **__: warn())
    assert r"careful: \x1b]0;owned\x07" in harmless(revive("check", spec())).err
