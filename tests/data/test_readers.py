import json
from pathlib import Path

import pytest

from revive.data.edits import Neighbor
from revive.data.readers import load_edits
from revive.errors import SpecError

GOOD = {"prompt": "The CEO of Twitter is", "subject": "Twitter", "target_new": "Linda Yaccarino"}


def lines(folder: Path, *rows: object, name: str = "edits.jsonl") -> Path:
    path = folder / name
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


def refusal(path: Path, **options: object) -> str:
    with pytest.raises(SpecError) as caught:
        load_edits(path, **options)
    message = str(caught.value)
    assert "\n" not in message or "2 records cannot be used" in message
    return message


def test_the_contract_form_is_read_in_full(tmp_path: Path):
    full = {
        **GOOD,
        "id": "ceo-1",
        "target_new": "Linda Yaccarino",
        "target_true": "Elon Musk",
        "paraphrases": ["Twitter is led by"],
        "neighborhood": [{"prompt": "The CEO of Apple is", "target": "Tim Cook"}],
    }
    loaded = load_edits(lines(tmp_path, full))
    (edit,) = loaded.edits
    assert loaded.format == "jsonl"
    assert (edit.id, edit.target_new, edit.target_true) == ("ceo-1", "Linda Yaccarino", "Elon Musk")
    assert edit.paraphrases == ("Twitter is led by",)
    assert edit.neighborhood == (Neighbor("The CEO of Apple is", "Tim Cook"),)


def test_braces_stand_for_the_subject(tmp_path: Path):
    (edit,) = load_edits(lines(tmp_path, {**GOOD, "prompt": "The CEO of {} is"})).edits
    assert edit.text == GOOD["prompt"]


def test_ids_come_from_the_position(tmp_path: Path):
    other = {**GOOD, "prompt": "Twitter is led by"}
    assert [e.id for e in load_edits(lines(tmp_path, GOOD, other)).edits] == ["edit-1", "edit-2"]


def test_one_id_twice_is_refused(tmp_path: Path):
    message = refusal(
        lines(tmp_path, {**GOOD, "id": 7}, {**GOOD, "id": "7", "prompt": "Twitter is led by"})
    )
    assert "line 2: id '7' is taken by" in message


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"prompt": None}, "prompt is missing"),
        ({"subject": None}, "subject is missing"),
        ({"target_new": None}, "target_new is missing"),
        ({"target_new": "   "}, "target_new is empty"),
        ({"subject": ""}, "subject is empty"),
        ({"prompt": ""}, "prompt is empty"),
        ({"subject": "Apple"}, "subject 'Apple' is not in the prompt 'The CEO of Twitter is'"),
        ({"subject": "twitter"}, "other upper and lower case"),
        ({"prompt": "{} and {} are"}, "holds {} 2 times"),
        ({"subject": "{}"}, "subject '{}' holds {}"),
        ({"target_new": "half \ud83d"}, "half a character"),
        ({"paraphrases": ["\udfff"]}, "half a character"),
        ({"target_new": 1997}, "target_new must be text, got a number"),
        ({"prompt": ["x"]}, "prompt must be text, got a list"),
        ({"subject": True}, "subject must be text, got true or false"),
        ({"paraphrases": [1]}, "paraphrases must be text, got a number"),
        ({"neighborhood": ["x"]}, "neighborhood must be an object, got text"),
        ({"neighborhood": [{"prompt": "x"}]}, "neighborhood: target is missing"),
    ],
)
def test_a_malformed_record_is_refused_with_its_line(
    tmp_path: Path, change: dict[str, object], expected: str
):
    bad = {k: v for k, v in {**GOOD, **change}.items() if v is not None}
    message = refusal(lines(tmp_path, GOOD, bad))
    assert "edits.jsonl, line 2" in message
    assert expected in message


def test_a_missing_field_is_found_on_the_first_line_too(tmp_path: Path):
    assert "line 1: subject is missing" in refusal(lines(tmp_path, {"prompt": "x"}))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b'{"prompt": "x"\n', "line 1: not valid JSON"),
        (b'\n{"a": 1}\n[1]\n', "line 3: expected an object with named fields, got a list"),
        (b'{"a": NaN}\n', "format not recognised (fields: a)"),
        (b"{" * 5, "line 1: not valid JSON"),
        (b'[{"prompt": "x"}, ', "line 1 (record 2): not valid JSON"),
        (b'[{"prompt": "x"}\n{"prompt": "x"}]', "line 1 (record 1): not valid JSON (no ','"),
        (b"[\n1]", "line 2 (record 1): expected an object with named fields, got a number"),
        (b"[]", "holds no records"),
        (b"", "is empty"),
        (b" \n\n", "is empty"),
        (b'{"prompt": "\xff"}', "line 1: not UTF-8"),
        (b"prompt,subject\nx,y\n", "line 1: neither JSON nor a table"),
        (b"prompt,subject,target_new\nx,x\n", "line 2: 2 cells, but the header has 3"),
        (b"prompt,subject,target_new,subject\n", "names a column twice"),
        (b'prompt,subject,target_new\nx,x,"y\n', "not valid CSV"),
        (b"prompt,subject,target_new\nx,y,\n", "line 2: target_new is missing"),
        (b"prompt,subject,target_new\n", "holds no records"),
    ],
)
def test_a_broken_file_is_refused(tmp_path: Path, content: bytes, expected: str):
    path = tmp_path / "edits"
    path.write_bytes(content)
    assert expected in refusal(path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path):
    assert "no such file" in refusal(tmp_path / "none.jsonl")
    assert "is a folder" in refusal(tmp_path)


def test_deep_nesting_is_refused(tmp_path: Path):
    path = tmp_path / "deep.jsonl"
    path.write_text('{"a": ' + "[" * 100_000, encoding="utf-8")
    assert "line 1: not valid JSON" in refusal(path)


def test_a_byte_order_mark_and_windows_line_ends_are_read(tmp_path: Path):
    path = tmp_path / "edits.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(GOOD).encode() + b"\r\n")
    assert len(load_edits(path).edits) == 1


def test_unknown_fields_warn_once_with_a_suggestion(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    other = {**GOOD, "prompt": "Twitter is led by", "paraphrase": [], "note": 1}
    load_edits(lines(tmp_path, GOOD, other, {**other, "prompt": "At Twitter, the boss is"}))
    (warning,) = caplog.messages
    assert "ignoring unknown fields note, paraphrase" in warning
    assert "line 2" in warning
    assert "Did you mean 'paraphrases'?" in warning


def test_unknown_fields_of_foreign_formats_pass_silently(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    row = {"src": "Who made UniFirst?", "subject": "UniFirst", "alt": "Bob", "cond": "x"}
    load_edits(lines(tmp_path, row))
    assert caplog.messages == []


def test_repeats_are_dropped_and_reported(tmp_path: Path):
    braces = {**GOOD, "prompt": "The CEO of {} is"}
    loaded = load_edits(lines(tmp_path, GOOD, GOOD, braces))
    assert len(loaded.edits) == 1
    assert [r.id for r in loaded.duplicates] == ["edit-2", "edit-3"]
    assert loaded.duplicates[0].first.endswith("line 1")


def test_contradictions_are_refused_unless_the_last_wins(tmp_path: Path):
    middle = {**GOOD, "prompt": "Twitter is led by"}
    path = lines(tmp_path, GOOD, middle, {**GOOD, "target_new": "Jack"})
    message = refusal(path)
    assert "line 3" in message
    assert "'Jack'" in message
    assert "--on-conflict last" in message
    loaded = load_edits(path, on_conflict="last")
    assert [e.id for e in loaded.edits] == ["edit-2", "edit-3"]
    (conflict,) = loaded.conflicts
    assert (conflict.replaced, conflict.target) == ("Linda Yaccarino", "Jack")


def test_a_sequence_keeps_contradictions_in_their_order(tmp_path: Path):
    other = {**GOOD, "prompt": "Twitter is led by"}
    jack, again = {**GOOD, "target_new": "Jack"}, {**GOOD, "id": "back"}
    path = lines(tmp_path, GOOD, other, GOOD, jack, jack, again)
    loaded = load_edits(path, on_conflict="sequence")
    assert [e.id for e in loaded.edits] == ["edit-1", "edit-2", "edit-4", "back"]
    assert [r.id for r in loaded.duplicates] == ["edit-3", "edit-5"]
    assert [(c.replaced, c.target) for c in loaded.conflicts] == [
        ("Linda Yaccarino", "Jack"),
        ("Jack", "Linda Yaccarino"),
    ]
    limited = load_edits(path, on_conflict="sequence", limit=3)
    assert [e.id for e in limited.edits] == ["edit-1", "edit-2", "edit-4"]


def test_the_limit_counts_distinct_edits_and_ignores_what_follows(tmp_path: Path):
    second = {**GOOD, "prompt": "Twitter is led by"}
    path = lines(
        tmp_path,
        GOOD,
        GOOD,
        second,
        {**GOOD, "prompt": "On Twitter"},
        {**second, "target_new": "x"},
    )
    assert [e.id for e in load_edits(path, limit=2).edits] == ["edit-1", "edit-3"]
    assert "at least 1" in refusal(path, limit=0)


def test_a_bad_line_beyond_the_limit_is_still_refused(tmp_path: Path):
    assert "line 2" in refusal(lines(tmp_path, GOOD, {"prompt": "x"}), limit=1)


def test_the_fingerprint_sees_content_and_order(tmp_path: Path):
    other = {**GOOD, "prompt": "Twitter is led by"}
    named = [{**GOOD, "id": "a"}, {**other, "id": "b"}]
    prints = {
        load_edits(lines(tmp_path, *rows)).fingerprint
        for rows in (named, named[::-1], named[:1], [named[0], {**named[1], "paraphrases": ["y"]}])
    }
    assert len(prints) == 4
    assert load_edits(lines(tmp_path, *named)).fingerprint in prints


def test_an_unknown_format_gets_a_suggestion(tmp_path: Path):
    message = refusal(lines(tmp_path, GOOD), format="counterfacts")
    assert "Unknown dataset 'counterfacts'. Did you mean 'counterfact'?" in message


def test_the_lab_stream():
    loaded = load_edits("lab", limit=20, seed=3)
    assert loaded.format == "lab"
    assert len(loaded.edits) == 20
    assert loaded == load_edits("lab", limit=20, seed=3)
    assert loaded.fingerprint != load_edits("lab", limit=20, seed=4).fingerprint
    assert all(e.relation for e in loaded.edits)
    message = refusal(Path("lab"), limit=10**6)
    assert "may be edited; ask for at most" in message
    assert "edits.on_conflict: sequence" in message
    assert load_edits("lab", limit=20, seed=3, on_conflict="sequence").edits == loaded.edits


def test_a_lab_sequence_is_longer_than_its_facts():
    loaded = load_edits("lab", limit=10_000, on_conflict="sequence")
    assert len({e.id for e in loaded.edits}) == 10_000
    assert len(loaded.conflicts) == 10_000 - 4723
    assert not loaded.duplicates
    assert len(load_edits("lab", on_conflict="sequence").edits) == 4723
