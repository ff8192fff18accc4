"""Repair: edits of a stream that no longer answer are made again, with a later batch.

A batch solves its own edits; some of them do not answer once it is written, and later batches take
the answer from others. To look is one forward pass an edit, to make one again a few percent of a
batch. Which edits are looked at follows from the step alone, and which are made again from the
weights: a run that is resumed repairs as one that was never cut short.
"""

import math
from collections.abc import Collection, Sequence
from typing import Any

from revive.data.edits import Edit
from revive.data.latest_edits import fact_of
from revive.data.prompts import Prompts
from revive.data.stream import Stream
from revive.scoring.score import score_targets
from revive.spec.schema import RepairSpec


def looked_at(
    repair: RepairSpec, stream: Stream, step: int, gone: Collection[str]
) -> tuple[Edit, ...]:
    """The edits that are looked at before a batch is made, those of the batch before it first.

    Args:
        repair: How often, and how many.
        stream: The run's edits.
        step: Number of the batch that comes next; beyond the stream's last, one of repairs alone.
        gone: Ids of edits that failed or were taken out.

    Returns:
        None of them has a later edit of its fact, in the model or in the batch that comes.
    """
    last = len(stream.batches)
    beyond = step > last
    if step < 2 or (beyond and step > last + repair.rounds):
        return ()
    if not beyond and (step - 1) % repair.every:
        return ()
    coming = () if beyond else stream.batches[step - 1]
    replaced = {fact_of(edit) for edit in coming}
    standing = [
        edit
        for edit in stream.standing(stream.count(step - 1), gone)
        if edit.id not in gone and fact_of(edit) not in replaced
    ]
    if beyond:
        return tuple(standing)
    latest = {edit.id for edit in stream.batches[step - 2]}
    older = [edit for edit in standing if edit.id not in latest]
    if len(older) > repair.sample:
        first = (step // repair.every * repair.sample) % len(older)
        older = [*older[first:], *older[:first]][: repair.sample]
    return (*(edit for edit in standing if edit.id in latest), *older)


def most(repair: RepairSpec, size: int, *, alone: bool) -> int:
    """How many edits are made again with one batch.

    Args:
        repair: Which share.
        size: Edits of a batch.
        alone: Whether the batch holds nothing else.
    """
    return size if alone else math.ceil(repair.share * size)


def unanswered(model: Any, tokenizer: Any, edits: Sequence[Edit]) -> tuple[Edit, ...]:
    """Those whose new target is not the model's greedy continuation of their prompt, in order."""
    if not edits:
        return ()
    read = Prompts(tokenizer).of
    scores = score_targets(model, tokenizer, [*map(read, edits)], [e.target_new for e in edits])
    return tuple(e for e, exact in zip(edits, scores.exact.tolist(), strict=True) if not exact)
