import json
from dataclasses import replace
from pathlib import Path

import pytest

from revive.data.edits import Edit, Neighbor
from revive.data.readers import load_edits
from revive.errors import SpecError

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"

CASE = {
    "case_id": 5,
    "requested_rewrite": {
        "prompt": "The mother tongue of {} is",
        "relation_id": "P103",
        "target_new": {"str": "English", "id": "Q1"},
        "target_true": {"str": "French", "id": "Q2"},
        "subject": "Danielle Darrieux",
    },
    "paraphrase_prompts": ["Danielle Darrieux, a native"],
    "neighborhood_prompts": ["The mother tongue of Montesquieu is"],
    "generation_prompts": [],
}
FLAT = {
    "case_id": 5,
    "prompt": "The mother tongue of Danielle Darrieux is",
    "target_new": "English",
    "subject": "Danielle Darrieux",
    "ground_truth": "French",
    "rephrase_prompt": "Danielle Darrieux, a native",
    "locality_prompt": "The mother tongue of Montesquieu is",
    "locality_ground_truth": "French",
}
ZSRE = {
    "subject": "UniFirst",
    "src": "What does UniFirst make?",
    "alt": "drones",
    "answers": ["uniform"],
    "rephrase": "UniFirst makes what?",
    "loc": "nq question: who voiced gaston",
    "loc_ans": "Richard White",
}
KNOWEDIT = {
    "subject": "Leo Arons",
    "prompt": "The place of death of Leo Arons is",
    "target_new": "Berlin",
    "portability": {
        "Reasoning": [{"prompt": "The mayor there is", "ground_truth": [["Kai Wegner"]]}],
        "Subject_Aliasing": [
            {
                "prompt": "The place of death of Martin Arons is",
                "ground_truth": [["Berlin", "DE-BE"]],
            }
        ],
    },
    "locality": {
        "Relation_Specificity": [
            {"prompt": "The father of Leo Arons is", "ground_truth": [["Albert Arons", "Albert"]]},
            {"prompt": "Nothing known of it is", "ground_truth": [[]]},
        ],
        "Forgetfulness": [{"prompt": ["Before, it was"], "ground_truth": ["Bonn"]}],
    },
}
WIKIBIO = {
    "concept": "akila dananjaya",
    "text": "This is a passage about akila dananjaya.",
    "labels": "He plays cricket.",
    "locality": {"Relation_Specificity": []},
}
DARRIEUX = Edit(
    prompt="The mother tongue of {} is",
    subject="Danielle Darrieux",
    target_new="English",
    target_true="French",
    id="5",
    paraphrases=("Danielle Darrieux, a native",),
    neighborhood=(Neighbor("The mother tongue of Montesquieu is", "French"),),
    relation="P103",
)


def array(folder: Path, *rows: object) -> Path:
    path = folder / "file.json"
    path.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    return path


def test_counterfact(tmp_path: Path):
    loaded = load_edits(array(tmp_path, CASE))
    assert loaded.format == "counterfact"
    assert loaded.edits == (replace(DARRIEUX, joiner="published"),)


def test_counterfact_flat_says_the_same(tmp_path: Path):
    loaded = load_edits(array(tmp_path, FLAT))
    assert loaded.format == "counterfact-flat"
    (edit,) = loaded.edits
    assert edit.text == DARRIEUX.text
    assert (edit.id, edit.target_true, edit.paraphrases) == ("5", "French", DARRIEUX.paraphrases)
    assert edit.neighborhood == DARRIEUX.neighborhood


def test_zsre(tmp_path: Path):
    loaded = load_edits(array(tmp_path, ZSRE))
    assert loaded.format == "zsre"
    (edit,) = loaded.edits
    assert (edit.target_new, edit.target_true) == ("drones", "uniform")
    assert edit.neighborhood == (Neighbor("who voiced gaston?", "Richard White"),)


def test_zsre_rows_without_an_answer_are_skipped_and_named(tmp_path: Path):
    loaded = load_edits(array(tmp_path, {**ZSRE, "alt": ""}, ZSRE))
    assert len(loaded.edits) == 1
    (where,) = loaded.skipped
    assert "record 1" in where


def test_a_file_of_nothing_but_skipped_records_is_refused(tmp_path: Path):
    with pytest.raises(SpecError, match="holds no edits"):
        load_edits(array(tmp_path, {**ZSRE, "alt": " "}))


def test_knowedit(tmp_path: Path):
    loaded = load_edits(array(tmp_path, KNOWEDIT))
    assert loaded.format == "knowedit"
    (edit,) = loaded.edits
    assert edit.paraphrases == ("The place of death of Martin Arons is",)
    assert edit.neighborhood == (
        Neighbor("The father of Leo Arons is", "Albert Arons"),
        Neighbor("Before, it was", "Bonn"),
    )


def test_knowedit_biographies(tmp_path: Path):
    (edit,) = load_edits(array(tmp_path, WIKIBIO)).edits
    assert (edit.subject, edit.target_new) == ("akila dananjaya", "He plays cricket.")


@pytest.mark.parametrize(
    ("good", "change", "expected"),
    [
        (CASE, {"requested_rewrite": None}, "requested_rewrite is missing"),
        (CASE, {"requested_rewrite": {"prompt": "x"}}, "target_new is missing"),
        (FLAT, {"subject": "Nobody"}, "subject 'Nobody' is not in the prompt"),
        (ZSRE, {"subject": 3}, "subject must be text"),
        (KNOWEDIT, {"locality": {"a": ["x"]}}, "question must be an object, got text"),
        (KNOWEDIT, {"portability": [1]}, "portability must be an object, got a list"),
    ],
)
def test_a_malformed_foreign_record_is_refused(
    tmp_path: Path, good: dict[str, object], change: dict[str, object], expected: str
):
    with pytest.raises(SpecError) as caught:
        load_edits(array(tmp_path, good, {**good, **change}))
    assert "(record 2)" in str(caught.value)
    assert expected in str(caught.value)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_csv(tmp_path: Path, delimiter: str):
    path = tmp_path / "edits.csv"
    rows = [
        (
            "prompt",
            "subject",
            "target_new",
            "paraphrases",
            "neighborhood_prompt",
            "neighborhood_target",
        ),
        ("{} is in", "Rome", "Spain", "Rome lies in|Find Rome in", "Milan is in", "Italy"),
        ('"Where, then, is {}?"', "Oslo", "Chile", "", "", ""),
    ]
    text = "\n".join(delimiter.join(row) for row in rows)
    path.write_text(text + "\n", encoding="utf-8")
    loaded = load_edits(path)
    assert loaded.format == "csv"
    first, second = loaded.edits
    assert first.paraphrases == ("Rome lies in", "Find Rome in")
    assert first.neighborhood == (Neighbor("Milan is in", "Italy"),)
    assert second.text == "Where, then, is Oslo?"


def test_csv_line_numbers_count_lines_inside_cells(tmp_path: Path):
    path = tmp_path / "edits.csv"
    path.write_text('prompt,subject,target_new\n"a\n{}",x,y\nb,z,y\n', encoding="utf-8")
    with pytest.raises(SpecError, match="line 4: subject 'z' is not in"):
        load_edits(path)


def test_csv_half_a_neighbour_is_refused(tmp_path: Path):
    path = tmp_path / "edits.csv"
    path.write_text(
        "prompt,subject,target_new,neighborhood_prompt\n{} is,a,b,c\n", encoding="utf-8"
    )
    with pytest.raises(SpecError, match="need each other"):
        load_edits(path)


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared data sets are not here")
@pytest.mark.parametrize(
    ("name", "format", "count", "skipped"),
    [
        ("counterfact/counterfact-edit.json", "counterfact-flat", 9917, 0),
        ("counterfact/counterfact-train.json", "counterfact-flat", 9923, 0),
        ("counterfact/counterfact-val.json", "counterfact-flat", 1912, 0),
        ("counterfact/counterfact_exact_1000.json", "counterfact", 999, 0),
        ("counterfact/counterfact_reconstructed_21919.json", "counterfact", 21595, 0),
        ("zsre/zsre_mend_train-1k.json", "zsre", 998, 2),
    ],
)
def test_published_files_are_read_as_they_are(name: str, format: str, count: int, skipped: int):
    loaded = load_edits(SHARED / name, on_conflict="last")
    assert loaded.format == format
    assert len(loaded.edits) == count
    assert len(loaded.skipped) == skipped
    assert all(edit.subject in edit.text for edit in loaded.edits)
    assert len({edit.id for edit in loaded.edits}) == count
