"""Streams of counterfactual edits over the facts the lab model knows."""

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TypedDict

from revive.lab.facts import Fact, load_facts, relations, state

Groups = Mapping[tuple[str, str], Sequence[Fact]]


class LabNeighbor(TypedDict):
    """A prompt about another subject whose true answer the edit must not disturb."""

    prompt: str
    target: str


class EditRecord(TypedDict):
    """One line of an edit file."""

    id: str
    prompt: str
    subject: str
    target_new: str
    target_true: str
    paraphrases: list[str]
    neighborhood: list[LabNeighbor]
    relation: str


def editable_count() -> int:
    """Number of facts that may be edited."""
    return sum(fact.split == "editable" for fact in load_facts())


def edit_records(count: int, seed: int, *, neighbors: int = 4) -> list[EditRecord]:
    """Draw a stream of edits that each make one true fact false.

    Args:
        count: Number of edits; no fact is edited twice.
        seed: Same seed, same stream; another seed gives another order and other targets.
        neighbors: Most neighbourhood prompts per edit.

    Returns:
        Records in the edit-file format. Each has two paraphrases in trained templates and one
        in a template that training held out. Neighbours share relation and true object with the
        edit, are never edited in this stream, and are drawn from the kept facts first.

    Raises:
        ValueError: If `count` is negative or exceeds the number of editable facts.
    """
    facts = load_facts()
    editable = [fact for fact in facts if fact.split == "editable"]
    if not 0 <= count <= len(editable):
        raise ValueError(
            f"edit_records: count is {count}, but the lab model has {len(editable)} editable "
            "facts; ask for between 0 and that many"
        )
    rng = random.Random(f"edits {seed}")
    chosen = rng.sample(editable, count)
    edited = {fact.subject for fact in chosen}
    groups = _free_groups(facts, edited)
    answers, known = _answers(facts)
    return [
        _record(rng, fact, answers[fact.relation], known[fact.subject], groups, neighbors)
        for fact in chosen
    ]


def repeated_records(count: int, seed: int, *, neighbors: int = 4) -> list[EditRecord]:
    """Draw a stream of edits that goes on when every fact has been edited once.

    Every round is a new permutation of all facts that may be edited, each with a target that is
    neither true nor that of the round before; prompts, paraphrases, neighbours and the true target
    stay those of the first round, so that a later edit is of the same fact. Ids of round r end in
    `@r`. A longer stream of the same seed begins with the shorter one, if that is longer than a
    round.

    Args:
        count: Number of edits.
        seed: As of `edit_records`, which draws the first round.
        neighbors: As there.

    Raises:
        ValueError: If `count` is negative.
    """
    size = editable_count()
    if count < 0:
        raise ValueError(f"repeated_records: count is {count}; ask for 0 or more")
    records = edit_records(min(count, size), seed, neighbors=neighbors)
    answers, known = _answers(load_facts())
    before = records
    turn = 1
    while len(records) < count:
        turn += 1
        rng = random.Random(f"edits {seed} round {turn}")
        after: list[EditRecord] = []
        for record in rng.sample(before, size):
            barred = {*known[record["subject"]], record["target_new"]}
            # Every relation has at least two answers more than a fact's true ones.
            while (target := rng.choice(answers[record["relation"]])) in barred:
                continue
            name = f"{record['id'].partition('@')[0]}@{turn}"
            after.append({**record, "id": name, "target_new": target})
        records = [*records, *after]
        before = after
    return records[:count]


def _answers(facts: Sequence[Fact]) -> tuple[dict[str, list[str]], dict[str, set[str]]]:
    """Objects by relation, as often as they come, and everything true of a subject."""
    answers: dict[str, list[str]] = defaultdict(list)
    known: dict[str, set[str]] = defaultdict(set)
    for fact in facts:
        answers[fact.relation].append(fact.object)
        known[fact.subject].add(fact.object)
    return answers, known


def _free_groups(facts: Sequence[Fact], edited: set[str]) -> Groups:
    """Facts about unedited subjects by relation and object, kept ones first."""
    groups: dict[tuple[str, str], list[Fact]] = defaultdict(list)
    for fact in sorted(facts, key=lambda item: item.split != "kept"):
        if fact.subject not in edited:
            groups[fact.relation, fact.object].append(fact)
    return groups


def _record(
    rng: random.Random,
    fact: Fact,
    answers: Sequence[str],
    known: set[str],
    groups: Groups,
    neighbors: int,
) -> EditRecord:
    relation = relations()[fact.relation]
    prompt, *others = rng.sample(relation.templates, 3)
    templates = (*others, rng.choice(relation.held_out))
    # Repeats in `answers` keep the draw in proportion to how common an answer is.
    target = rng.choice([answer for answer in answers if answer not in known])
    return EditRecord(
        id=fact.id,
        prompt=prompt,
        subject=fact.subject,
        target_new=target,
        target_true=fact.object,
        paraphrases=[state(template, fact.subject) for template in templates],
        neighborhood=[
            LabNeighbor(prompt=state(prompt, other.subject), target=other.object)
            for other in _neighbors(rng, groups.get((fact.relation, fact.object), ()), neighbors)
        ],
        relation=fact.relation,
    )


def _neighbors(rng: random.Random, group: Sequence[Fact], count: int) -> list[Fact]:
    kept = [fact for fact in group if fact.split == "kept"]
    spare = [fact for fact in group if fact.split != "kept"]
    return [*rng.sample(kept, len(kept)), *rng.sample(spare, len(spare))][:count]
