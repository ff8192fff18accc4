"""Reasons why an edit did not take: what journal and subject say, and what is said of it."""

import pytest
from tiny import byte_tokenizer

from revive.data.edits import Edit
from revive.metrics.per_edit import EditRow, EditTable, to_csv
from revive.run_folder.reasons import advice, explained, known_reasons, too_weak
from revive.runs.subject_notes import shared_keys, subject_note


def batch(step, **fields):
    return {"event": "batch", "step": step, "failed": [], **fields}


EVENTS = (
    batch(
        1,
        made=["a", "b"],
        failed=[{"id": "c", "reason": "no subject"}],
        unsolved={"a": 9.05},
        withheld={"a": 0.63, "b": 0.5},
        notes={"target_solved": 0.5},
    ),
    batch(2, made=["d", "e"], unsolved={}, withheld={}, notes={"target_solved": 1.0}),
    batch(3, made=["f"], unsolved={}, withheld={}, notes={}),
    batch(4, made=["g"], notes={"target_solved": 1.0}),
    {"event": "rollback", "step": 4, "edit": "e", "batch": 2},
)


def test_what_the_journal_knows():
    found = known_reasons(EVENTS)
    assert [why.cause for why in found["a"]] == ["unsolved", "withheld"]
    row = explained(EditRow("a", reached=False), found["a"])
    assert row.cause == "unsolved"
    assert row.reason == (
        "its target was not solved (loss 9.05); the guard took out 63% of its update"
    )
    assert explained(EditRow("c"), found["c"]).reason == "no subject"
    assert explained(EditRow("e"), found["e"]).cause == "removed"
    assert set(found) == {"a", "b", "c", "e"}


def test_an_edit_that_took_has_no_reason_not_to():
    found = known_reasons(EVENTS)
    assert explained(EditRow("a", reached=True), found["a"]) == EditRow("a", reached=True)


def test_too_weak_is_said_only_where_targets_are_solved_and_recorded():
    """Not of fine-tuning (f), which solves none, nor of an older version's batch (g)."""
    assert too_weak(EVENTS) == {"b", "d", "e"}


def test_a_batch_that_was_rolled_back_says_nothing():
    assert known_reasons([EVENTS[0], {"event": "rollback", "step": 0, "to": 0}]) == {}


def test_advice_follows_the_commonest_cause():
    assert "editor.lr" in advice({"unsolved": 3, "weak": 1}, "ridge")
    assert "editor.max_step" in advice({"unsolved": 3}, "ridge", "max_step")
    assert "editor.l2" in advice({"unsolved": 1, "weak": 2}, "l2")
    assert advice({"": 3, "failed": 2}, "ridge") == ""


def test_edits_of_one_text_up_to_the_subject_share_a_key():
    edits = (
        Edit("{} was born in", "Ada", "Rome", id="born"),
        Edit("{} lives in", "Ada", "Oslo", id="lives"),
        Edit("The home of {} is", "Ada", "Lima", id="home"),
        Edit("{} lives in", "Boris", "Oslo", id="other"),
    )
    assert shared_keys(edits) == {"born": "lives", "lives": "born"}


@pytest.mark.parametrize(
    ("bos", "prompt", "subject", "wanted"),
    [
        (False, "{} is a", "X", "the text's first token"),
        (False, "{} is a", "XY", ""),
        (True, "{} is a", "X", ""),
        (False, "The {} is a", "X", ""),
    ],
)
def test_a_subject_where_models_hardly_look(bos, prompt, subject, wanted):
    note = subject_note(byte_tokenizer(bos=bos), Edit(prompt, subject, "y"))
    assert wanted in note
    assert bool(note) == bool(wanted)


@pytest.mark.parametrize(
    ("edits", "rows", "wanted"),
    [
        (3, [True, False, True], "2 of 3 edits answer with the new target"),
        (1, [False], "0 of 1 edit answers with the new target"),
        (
            9000,
            [True] * 150 + [False] * 50,
            "150 of 200 edits that were measured answer with the new target (9,000 stand)",
        ),
        (2, [None, None], "no edit's answer was measured"),
    ],
)
def test_the_headline(edits, rows, wanted):
    table = EditTable(tuple(EditRow(str(i), reached=r) for i, r in enumerate(rows)), edits)
    assert table.headline() == wanted


def test_the_headline_counts_what_could_not_be_made():
    rows = (EditRow("a", reached=True), EditRow("b", reached=False, cause="failed"))
    told = "1 of 2 edits answer with the new target; 1 could not be made"
    assert EditTable(rows, 2).headline() == told


def test_text_survives_csv():
    row = EditRow("a", 'He said "x",\nthen', now="y,z", reached=False)
    assert to_csv([("", row)]).splitlines()[0].startswith("id,prompt,target_new")
    assert '"He said ""x"",\nthen"' in to_csv([("", row)])
