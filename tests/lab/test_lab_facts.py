from collections import Counter, defaultdict

import pytest

from recipes.lab.select import select
from revive.lab import facts as lab_facts
from revive.lab import load_facts, relations


def test_table_has_the_promised_size():
    splits = Counter(fact.split for fact in load_facts())
    assert splits["editable"] >= 4500
    assert splits["kept"] >= 1000
    assert len({fact.relation for fact in load_facts()}) >= 24


def test_ids_are_unique_and_each_subject_has_one_object_per_relation():
    facts = load_facts()
    assert len({fact.id for fact in facts}) == len(facts)
    assert len({(fact.relation, fact.subject) for fact in facts}) == len(facts)


def test_a_subject_is_in_one_split_only():
    splits = defaultdict(set)
    for fact in load_facts():
        splits[fact.subject].add(fact.split)
    assert all(len(found) == 1 for found in splits.values())


def test_every_group_has_five_subjects():
    groups = Counter((fact.relation, fact.object) for fact in load_facts())
    assert min(groups.values()) >= 5


def test_no_answer_can_be_read_off_the_subject():
    assert not [f for f in load_facts() if f.object.lower() in f.subject.lower()]


def test_templates_have_one_slot_and_leave_room_for_the_object():
    seen = Counter()
    for relation in relations().values():
        assert len(relation.templates) >= 7
        assert len(relation.held_out) == 2
        for template in (*relation.templates, *relation.held_out):
            assert template.count("{}") == 1
            assert template == template.strip()
            seen[template] += 1
    assert max(seen.values()) == 1, "a template shared by two relations would be ambiguous"


def test_every_fact_has_templates():
    assert {fact.relation for fact in load_facts()} == set(relations())


def test_damaged_table_is_refused_with_its_line(monkeypatch, tmp_path):
    path = tmp_path / "facts.tsv"
    path.write_text("f0\tP19\tAda\tLondon\teditable\nf1\tP19\tBob\n")
    monkeypatch.setattr(lab_facts, "data_path", lambda name: path)
    with pytest.raises(ValueError, match=r"facts\.tsv:2"):
        lab_facts.load_facts.__wrapped__()


def test_selection_drops_ambiguous_subjects_and_small_groups():
    triples = [("P19", f"Person {letter}", "London") for letter in "ABCDEF"]
    triples += [("P19", "Person A", "Paris"), ("P19", "Lone One", "Rome")]
    chosen = select(triples, cap=10)
    assert {fact.subject for fact in chosen} == {f"Person {letter}" for letter in "BCDEF"}
    assert Counter(fact.split for fact in chosen) == {"editable": 4, "kept": 1}


def test_selection_ignores_input_order():
    triples = [("P19", f"Person {letter}", "London") for letter in "ABCDEFGHIJ"]
    assert select(triples, cap=7) == select(triples[::-1], cap=7)
