"""Questions beyond the edit itself: portability, multi-hop chains, attributes, references."""

import json
from dataclasses import replace

import pytest

from revive.data.edits import MultiHop, Question
from revive.data.readers import load_edits
from revive.errors import SpecError
from shared import shared


def chain_case(number, rewrites, question, answer):
    return {
        "case_id": number,
        "requested_rewrite": [
            {
                "prompt": prompt,
                "relation_id": "P1",
                "target_new": {"str": new, "id": "Q1"},
                "target_true": {"str": "old", "id": "Q2"},
                "subject": subject,
                "question": f"Tell me: {prompt.replace('{}', subject)}?",
            }
            for subject, prompt, new in rewrites
        ],
        "questions": [question, f"{question} Really?"],
        "answer": "old",
        "answer_alias": [],
        "new_answer": answer,
        "new_answer_alias": [f"{answer} City", answer],
    }


WIFE = ("Ada", "{} is married to", "Bo")
HOME = ("Bo", "{} lives in", "Rome")
FOOD = ("Ada", "{} likes", "figs")
CHAINS = [
    chain_case(1, [WIFE, HOME], "Where does Ada's spouse live?", "Rome"),
    chain_case(2, [FOOD, WIFE], "What does Bo's spouse eat?", "figs"),
]
BIG = {
    "tag": "new",
    "subject": "Ada",
    "relation": "spouse",
    "object": "Bo",
    "update": "Who is Ada married to?",
    "rephrase": "Ada's spouse is who?",
    "ans": "Bo",
    "personas": "Tell me, mate, who did Ada marry?",
    "loc": "Who is Cy married to?",
    "loc_ans": "Di",
    "mhop": "Where does Ada's spouse live?",
    "mhop_ans": "Rome",
}


def read(tmp_path, rows, **settings):
    path = tmp_path / "edits.json"
    path.write_text(json.dumps(rows), "utf-8")
    return load_edits(path, **settings)


def test_mquake_cases_become_edits_and_chains(tmp_path):
    loaded = read(tmp_path, CHAINS)
    assert loaded.format == "mquake"
    wife, home, food = loaded.edits
    assert [e.text for e in loaded.edits] == ["Ada is married to", "Bo lives in", "Ada likes"]
    assert [e.id for e in loaded.edits] == ["1-1", "1-2", "2-1"]
    assert wife.paraphrases == ("Tell me: Ada is married to?",)
    assert (wife.target_true, wife.relation) == ("old", "P1")
    rests_on = (("Ada is married to", "Bo"), ("Bo lives in", "Rome"))
    asked = ("Where does Ada's spouse live?", "Where does Ada's spouse live? Really?")
    assert home.multi_hop == (MultiHop(asked, ("Rome", "Rome City"), rests_on),)
    # The second case's last rewrite is one that the first case made: its chain goes there.
    assert len(loaded.duplicates) == 1
    assert [c.answers for c in wife.multi_hop] == [("figs", "figs City")]
    assert food.multi_hop == ()


def test_mquake_cases_that_contradict_are_refused_unless_asked(tmp_path):
    other = chain_case(3, [(*WIFE[:2], "Cy")], "Where does Ada's spouse live?", "Oslo")
    with pytest.raises(SpecError, match="on-conflict last"):
        read(tmp_path, [*CHAINS, other])
    kept = read(tmp_path, [*CHAINS, other], on_conflict="last").edits
    assert [e.target_new for e in kept if e.text == "Ada is married to"] == ["Cy"]


def test_wikibigedit_rows_become_edits(tmp_path):
    loaded = read(tmp_path, [BIG, {**BIG, "subject": "Ada Lovelace"}])
    assert loaded.format == "wikibigedit"
    assert len(loaded.skipped) == 1
    (edit,) = loaded.edits
    assert (edit.text, edit.target_new) == ("Who is Ada married to?", "Bo")
    assert edit.paraphrases == ("Ada's spouse is who?", "Tell me, mate, who did Ada marry?")
    assert edit.neighborhood[0].target == "Di"
    (chain,) = edit.multi_hop
    assert (chain.questions, chain.answers) == (("Where does Ada's spouse live?",), ("Rome",))
    assert chain.needs == ((edit.text, "Bo"),)


def test_counterfact_brings_attribute_and_generation_prompts():
    path = shared("data", "counterfact", "counterfact_exact_1000.json")
    edit = load_edits(path, limit=1).edits[0]
    assert len(edit.attribute_prompts) == len(edit.generation_prompts) == 10
    assert "The mother tongue of Douglas Adams is" in edit.attribute_prompts


@pytest.mark.parametrize(
    ("extra", "wanted"),
    [
        (
            {"portability": {"Reasoning": [{"prompt": "Q?", "ground_truth": [["a", "b"], "a"]}]}},
            (Question("Q?", ("a", "b")),),
        ),
        (
            {"portability": {"Recalled Relation": "r", "New Question": "Q?", "New Answer": "a"}},
            (Question("Q?", ("a",)),),
        ),
        (
            {"portability_prompt": "Q?", "portability_ground_truth": ["a"]},
            (Question("Q?", ("a",)),),
        ),
        ({"portability": {"Reasoning": [{"prompt": "Q?", "ground_truth": []}]}}, ()),
    ],
    ids=["knowedit", "first-easyedit", "flat", "without-answer"],
)
def test_portability_in_every_spelling(tmp_path, extra, wanted):
    row = {"prompt": "Ada lives in", "subject": "Ada", "target_new": "Rome", "locality_prompt": ""}
    assert read(tmp_path, [{**row, **extra}]).edits[0].portability == wanted


OWN = {
    "prompt": "Ada lives in",
    "subject": "Ada",
    "target_new": "Rome",
    "attribute_prompts": ["Cicero lived in"],
    "portability": [{"prompt": "Ada's country is", "answers": ["Italy", "Italia"]}],
    "multi_hop": [{"questions": ["Which river is near Ada?"], "answers": ["Tiber"]}],
    "generation_prompts": ["Every morning Ada"],
    "references": ["Rome is old."],
}


def test_an_edit_file_may_hold_all_of_it(tmp_path):
    edit = read(tmp_path, [OWN]).edits[0]
    assert edit.attribute_prompts == ("Cicero lived in",)
    assert edit.portability == (Question("Ada's country is", ("Italy", "Italia")),)
    assert edit.multi_hop == (MultiHop(("Which river is near Ada?",), ("Tiber",)),)
    assert edit.generation_prompts == ("Every morning Ada",)
    assert edit.references == ("Rome is old.",)
    assert hash(edit) != hash(replace(edit, references=()))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"portability": [{"prompt": "Q?"}]}, "portability: answers is missing or empty"),
        ({"portability": [{"answers": ["a"]}]}, "prompt is missing"),
        ({"portability": ["Q?"]}, "portability must be an object"),
        ({"multi_hop": [{"questions": [], "answers": ["a"]}]}, "questions is missing or empty"),
        ({"references": [3]}, "references must be text"),
        ({"attribute_prompts": ["\ud800"]}, "half a character"),
    ],
)
def test_malformed_questions_are_refused_with_their_place(tmp_path, change, told):
    path = tmp_path / "edits.jsonl"
    path.write_text(json.dumps({**OWN, **change}), "utf-8")
    with pytest.raises(SpecError, match=told) as refused:
        load_edits(path)
    assert "edits.jsonl, line 1" in str(refused.value)
