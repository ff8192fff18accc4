import json

import pytest

from revive.lab import load_facts, relations
from revive.lab.stream import edit_records, repeated_records

FACTS = {fact.id: fact for fact in load_facts()}
EDITABLE = sum(fact.split == "editable" for fact in load_facts())


def truths(relation, subject):
    return {f.object for f in load_facts() if f.subject == subject and f.relation == relation}


def test_same_seed_same_stream_other_seed_other_stream():
    assert edit_records(50, 3) == edit_records(50, 3)
    first, second = edit_records(EDITABLE, 0), edit_records(EDITABLE, 1)
    assert [r["id"] for r in first] != [r["id"] for r in second]
    targets = {r["id"]: r["target_new"] for r in first}
    assert any(targets[r["id"]] != r["target_new"] for r in second)


def test_each_edit_contradicts_a_true_fact_about_a_distinct_id():
    records = edit_records(400, 0)
    assert len({r["id"] for r in records}) == 400
    for record in records:
        fact = FACTS[record["id"]]
        assert fact.split == "editable"
        assert record["subject"] == fact.subject
        assert record["target_true"] == fact.object
        assert record["target_new"] not in truths(fact.relation, fact.subject)
        assert record["target_new"] in {f.object for f in FACTS.values()}


def test_target_is_an_answer_of_the_same_relation():
    answers = {}
    for fact in load_facts():
        answers.setdefault(fact.relation, set()).add(fact.object)
    for record in edit_records(EDITABLE, 2):
        assert record["target_new"] in answers[record["relation"]]


def test_paraphrases_are_two_trained_and_one_held_out():
    for record in edit_records(200, 1):
        relation = relations()[record["relation"]]
        trained = {t.replace("{}", record["subject"]) for t in relation.templates}
        held_out = {t.replace("{}", record["subject"]) for t in relation.held_out}
        assert record["prompt"] in relation.templates
        assert record["prompt"].replace("{}", record["subject"]) not in record["paraphrases"]
        assert len(set(record["paraphrases"])) == 3
        assert set(record["paraphrases"][:2]) <= trained
        assert record["paraphrases"][2] in held_out


@pytest.mark.parametrize("count", [100, EDITABLE])
def test_neighbors_share_relation_and_object_and_are_never_edited(count):
    records = edit_records(count, 0)
    edited = {record["subject"] for record in records}
    by_statement = {(f.relation, f.subject): f for f in load_facts()}
    for record in records:
        assert len(record["neighborhood"]) <= 4
        for neighbor in record["neighborhood"]:
            before, after = record["prompt"].split("{}")
            subject = neighbor["prompt"].removeprefix(before).removesuffix(after)
            assert subject not in edited
            assert neighbor["target"] == record["target_true"]
            assert by_statement[record["relation"], subject].object == record["target_true"]


def test_most_edits_have_neighbors_even_when_everything_is_edited():
    records = edit_records(EDITABLE, 0)
    assert sum(bool(record["neighborhood"]) for record in records) > 0.9 * EDITABLE


def test_kept_facts_come_first():
    for record in edit_records(100, 0):
        before, after = record["prompt"].split("{}")
        splits = [
            next(
                f.split
                for f in load_facts()
                if f.relation == record["relation"]
                and f.subject == n["prompt"].removeprefix(before).removesuffix(after)
            )
            for n in record["neighborhood"]
        ]
        assert splits == sorted(splits, key=lambda split: split != "kept")


def test_records_are_json_lines():
    record = edit_records(1, 0)[0]
    assert json.loads(json.dumps(record)) == record


@pytest.mark.parametrize("count", [EDITABLE + 1, -1])
def test_impossible_count_is_refused(count):
    with pytest.raises(ValueError, match=f"{EDITABLE} editable facts"):
        edit_records(count, 0)


def test_empty_stream():
    assert edit_records(0, 0) == []


def rounds(count, seed=0):
    """The stream, cut where a new round begins."""
    records = repeated_records(count, seed)
    return [records[i : i + EDITABLE] for i in range(0, count, EDITABLE)]


def test_a_repeated_stream_begins_as_one_that_edits_no_fact_twice():
    assert repeated_records(100, 3) == edit_records(100, 3)
    assert rounds(EDITABLE + 1)[0] == edit_records(EDITABLE, 0)


def test_every_round_is_a_new_permutation_of_all_facts_with_ids_of_its_own():
    drawn = rounds(3 * EDITABLE)
    ids = [r["id"] for records in drawn for r in records]
    assert len(set(ids)) == len(ids)
    orders = [[r["id"].partition("@")[0] for r in records] for records in drawn]
    assert all(sorted(order) == sorted(orders[0]) for order in orders)
    assert orders[0] != orders[1] != orders[2] != orders[0]
    assert drawn[1][0]["id"].endswith("@2")


def test_a_later_target_is_neither_true_nor_that_of_the_round_before():
    drawn = rounds(3 * EDITABLE + 50, seed=2)
    before = {r["id"]: r for r in drawn[0]}
    first = dict(before)
    for records in drawn[1:]:
        for record in records:
            name = record["id"].partition("@")[0]
            assert record["target_new"] != before[name]["target_new"]
            assert record["target_new"] not in truths(record["relation"], record["subject"])
            kept = ("prompt", "subject", "target_true", "paraphrases", "neighborhood", "relation")
            assert all(record[key] == first[name][key] for key in kept)
            before[name] = record


def test_a_longer_stream_goes_on_where_a_shorter_one_ends():
    shorter, longer = repeated_records(EDITABLE + 10, 1), repeated_records(EDITABLE + 500, 1)
    assert longer[: len(shorter)] == shorter
    assert repeated_records(EDITABLE + 10, 2) != shorter


def test_a_negative_count_is_refused():
    with pytest.raises(ValueError, match="repeated_records"):
        repeated_records(-1, 0)
