"""Streams of counterfactual edits over the facts the lab model knows."""

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TypedDict

from revive.lab.facts import Fact, load_facts, relations, state

Groups = Mapping[tuple[str, str], Sequence[Fact]]


class Neighbor(TypedDict):
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
    neighborhood: list[Neighbor]
    relation: str


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
    answers: dict[str, list[str]] = defaultdict(list)
    known: dict[str, set[str]] = defaultdict(set)
    for fact in facts:
        answers[fact.relation].append(fact.object)
        known[fact.subject].add(fact.object)
    return [
        _record(rng, fact, answers[fact.relation], known[fact.subject], groups, neighbors)
        for fact in chosen
    ]


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
            Neighbor(prompt=state(prompt, other.subject), target=other.object)
            for other in _neighbors(rng, groups.get((fact.relation, fact.object), ()), neighbors)
        ],
        relation=fact.relation,
    )


def _neighbors(rng: random.Random, group: Sequence[Fact], count: int) -> list[Fact]:
    kept = [fact for fact in group if fact.split == "kept"]
    spare = [fact for fact in group if fact.split != "kept"]
    return [*rng.sample(kept, len(kept)), *rng.sample(spare, len(spare))][:count]
