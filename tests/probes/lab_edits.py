"""Facts that the lab model knows, written as if they were edits that took."""

import random

from revive.data.edits import Edit, Neighbor
from revive.lab.facts import load_facts
from revive.lab.stream import edit_records


def taken(count=16):
    """Edits whose new target is what the model says, with neighbours that it knows."""
    facts = {f.id: f for f in load_facts()}
    edits = []
    for record in edit_records(count, 0):
        assert record["target_true"] == facts[record["id"]].object
        edits.append(
            Edit(
                prompt=record["prompt"],
                subject=record["subject"],
                target_new=record["target_true"],
                target_true=record["target_new"],
                id=record["id"],
                paraphrases=tuple(record["paraphrases"][:2]),
                neighborhood=tuple(
                    Neighbor(n["prompt"], n["target"]) for n in record["neighborhood"][:2]
                ),
                attribute_prompts=tuple(n["prompt"] for n in record["neighborhood"][:2]),
                relation=record["relation"],
            )
        )
    return edits


def shuffled(values, seed=0):
    """In an order in which nothing stays where it was, if it can be helped."""
    order = list(values)
    random.Random(seed).shuffle(order)
    return order
