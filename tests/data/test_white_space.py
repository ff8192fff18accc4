"""Every reader keeps the white space of prompts and targets; forms and joiners are read."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest

from revive.data.edits import Edit
from revive.data.readers import fingerprint, load_edits
from revive.errors import SpecError

PROMPT, TARGET, OTHER = "\n<user>\nWhere is Paris?\n<assistant>\n", " Rome\n", "Where?\n"
TRUE = "\tFrance"
OWN = {"prompt": PROMPT, "subject": " Paris ", "target_new": TARGET}
LOCALITY = {"prompt": OTHER, "ground_truth": [TRUE]}

# A record of every format that leaves the text alone.
RECORDS = {
    "jsonl": {
        **OWN,
        "target_true": TRUE,
        "paraphrases": [OTHER],
        "neighborhood": [{"prompt": OTHER, "target": TRUE}],
    },
    "counterfact-flat": {
        **OWN,
        **{"ground_truth": TRUE, "rephrase_prompt": OTHER},
        **{"locality_prompt": OTHER, "locality_ground_truth": TRUE},
    },
    "knowedit": {
        **OWN,
        **{"ground_truth": TRUE, "rephrase": OTHER, "locality": {"Other": [LOCALITY]}},
    },
    "wikibigedit": {
        **{"update": PROMPT, "subject": " Paris ", "ans": TARGET, "rephrase": OTHER},
        **{"loc": OTHER, "loc_ans": TRUE},
    },
    "mquake": {
        "requested_rewrite": [
            {
                **{"prompt": PROMPT.replace("Paris", "{}"), "subject": " Paris "},
                **{"target_new": {"str": TARGET}, "target_true": {"str": TRUE}, "question": OTHER},
            }
        ]
    },
}


def written(tmp_path: Path, *records: dict[str, object]) -> Path:
    path = tmp_path / "edits.json"
    path.write_text(json.dumps(list(records)), "utf-8")
    return path


@pytest.mark.parametrize("format", list(RECORDS))
def test_white_space_is_kept(tmp_path: Path, format: str):
    loaded = load_edits(written(tmp_path, RECORDS[format]))
    assert loaded.format == format
    (edit,) = loaded.edits
    assert (edit.text, edit.subject, edit.target_new) == (PROMPT, "Paris", TARGET)
    assert edit.paraphrases == (OTHER,)
    if format != "wikibigedit":
        assert edit.target_true == TRUE
    assert [(n.prompt, n.target) for n in edit.neighborhood] in ([], [(OTHER, TRUE)])
    assert edit.joiner == "auto"


def test_a_table_keeps_what_is_quoted(tmp_path: Path):
    path = tmp_path / "edits.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_ALL)
        writer.writerow([*OWN, "chat", "paraphrases"])
        writer.writerow([*OWN.values(), "TRUE", "Where | is it?\n"])
    (edit,) = load_edits(path).edits
    assert (edit.text, edit.subject, edit.target_new) == (PROMPT, "Paris", TARGET)
    assert edit.paraphrases == ("Where", "is it?\n")
    assert edit.chat is True


def test_blanks_after_a_comma_are_the_tables(tmp_path: Path):
    path = tmp_path / "edits.csv"
    path.write_text('prompt, subject, target_new\nParis is in, Paris, "Rome, Italy"\n', "utf-8")
    (edit,) = load_edits(path).edits
    assert (edit.prompt, edit.subject, edit.target_new) == ("Paris is in", "Paris", "Rome, Italy")


@pytest.mark.parametrize(
    "record",
    [
        {
            "requested_rewrite": {
                **{"prompt": "{} is in ", "subject": "Paris ", "target_new": {"str": " Rome"}},
                "target_true": {"str": "France "},
            },
            "paraphrase_prompts": ["Where? "],
        },
        {
            **{"src": "Paris is in ", "subject": "Paris", "alt": " Rome", "answers": ["France "]},
            "rephrase": "Where? ",
        },
    ],
)
def test_published_protocols_trim_and_put_a_space(tmp_path: Path, record: dict[str, object]):
    (edit,) = load_edits(written(tmp_path, record)).edits
    assert (edit.text, edit.target_new, edit.target_true) == ("Paris is in", "Rome", "France")
    assert (edit.paraphrases, edit.joiner) == (("Where?",), "published")
    (edit,) = load_edits(written(tmp_path, record), joiner="auto").edits
    assert edit.joiner == "auto"


def test_only_white_space_is_nothing(tmp_path: Path):
    with pytest.raises(SpecError, match="target_new is empty"):
        load_edits(written(tmp_path, {**OWN, "target_new": " \n"}))


def test_both_forms_are_two_edits(tmp_path: Path):
    first = {"id": "a", **OWN, "chat": "both", "joiner": " "}
    second = {"id": "b", **OWN, "prompt": "Paris lies in", "chat": True}
    edits = load_edits(written(tmp_path, first, second)).edits
    assert [(e.id, e.chat, e.joiner) for e in edits] == [
        ("a", False, " "),
        ("a.chat", True, " "),
        ("b", True, "auto"),
    ]
    assert {e.target_new for e in edits} == {TARGET}


def test_what_is_asked_for_all_edits_counts_before_their_own(tmp_path: Path):
    path = written(tmp_path, {"id": "a", **OWN, "chat": True, "joiner": " "})
    (edit,) = load_edits(path, chat=False, joiner="").edits
    assert (edit.chat, edit.joiner) == (False, "")
    assert [e.id for e in load_edits(path, chat="both").edits] == ["a", "a.chat"]


@pytest.mark.parametrize(
    ("fields", "told"),
    [({"chat": "yes"}, "chat must be"), ({"chat": [1]}, "chat must be"), ({"joiner": 1}, "joiner")],
)
def test_other_values_are_refused(tmp_path: Path, fields: dict[str, object], told: str):
    with pytest.raises(SpecError, match=rf"record 1\).*{told}"):
        load_edits(written(tmp_path, {**OWN, **fields}))


def test_white_space_hides_no_contradiction_and_no_repeat(tmp_path: Path):
    plain = {"prompt": "Paris is in", "subject": "Paris", "target_new": "Rome"}
    assert len(load_edits(written(tmp_path, plain, {**plain, "prompt": "Paris is in "})).edits) == 1
    with pytest.raises(SpecError, match="shall be"):
        load_edits(
            written(tmp_path, plain, {**plain, "prompt": "Paris is in ", "target_new": "Oslo"})
        )
    # The sentence and the chat are asked at different places.
    assert len(load_edits(written(tmp_path, plain, {**plain, "chat": True})).edits) == 2


def test_a_blank_at_a_prompts_end_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    plain = {"prompt": "Paris is in ", "subject": "Paris", "target_new": "Rome"}
    load_edits(written(tmp_path, plain))
    assert "a prompt ends in a space" in caplog.text
    caplog.clear()
    load_edits(written(tmp_path, {**plain, "prompt": "Paris is in\n"}))
    assert not caplog.text


def test_the_fingerprint_of_a_file_is_what_it_was():
    """A run that an older version began must find its edits unchanged."""
    edit = Edit(prompt="{} is in", subject="Paris", target_new="Rome", id="a", target_true="France")
    known = "8ecab5a38412120c7f71a3798c4ee8ebee67b25846fae766942ee635a6ffa5fa"
    assert fingerprint([edit]) == fingerprint([replace(edit, joiner="published")]) == known
    assert fingerprint([replace(edit, chat=True)]) != known
    assert fingerprint([replace(edit, joiner="")]) != known
