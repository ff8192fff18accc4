"""Which edits hold, one by one: what a change of the model did to each of them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from revive.data.edits import Edit
from revive.data.encoding import encode_prompt, encode_target
from revive.data.prompts import Prompts
from revive.models.placement import entry_device
from revive.scoring.score import score_targets


@dataclass(frozen=True)
class RetentionSnapshot:
    """How n edits stand, in the order they were given.

    Attributes:
        ids: Their ids.
        nll: Mean NLL per token of the new target after the edit's prompt, nats.
        holds: Whether the new target is preferred to the true one; where that is not known,
            whether it is the greedy continuation.
    """

    ids: tuple[str, ...]
    nll: tuple[float, ...]
    holds: tuple[bool, ...]


@dataclass(frozen=True)
class RetentionChange:
    """What became of some edits between two measurements.

    Attributes:
        edits: How many were measured.
        before: How many held.
        after: How many hold now.
        lost: Ids of those that held and do not any more.
        regained: Ids of those that hold and did not.
        nll_shift: Mean rise of the new target's NLL, nats per token; NaN without edits.
    """

    edits: int
    before: int
    after: int
    lost: tuple[str, ...]
    regained: tuple[str, ...]
    nll_shift: float


def retention_snapshot(model: Any, tokenizer: Any, edits: Sequence[Edit]) -> RetentionSnapshot:
    """Ask a model for each edit's own prompt."""
    known = [i for i, edit in enumerate(edits) if edit.target_true]
    own = [*map(Prompts(tokenizer).of, edits)]
    prompts = own + [own[i] for i in known]
    targets = [e.target_new for e in edits] + [edits[i].target_true or "" for i in known]
    scores = score_targets(model, tokenizer, prompts, targets)
    nll = [float(x) for x in scores.nll.double()]
    holds = [bool(x) for x in scores.exact[: len(edits)]]
    for place, index in enumerate(known, start=len(edits)):
        holds[index] = nll[index] < nll[place]
    return RetentionSnapshot(tuple(e.id for e in edits), tuple(nll[: len(edits)]), tuple(holds))


def retention_change(before: RetentionSnapshot, after: RetentionSnapshot) -> RetentionChange:
    """Compare two measurements of the same edits."""
    pairs = list(zip(before.ids, before.holds, after.holds, strict=True))
    shifts = [b - a for a, b in zip(before.nll, after.nll, strict=True)]
    return RetentionChange(
        edits=len(pairs),
        before=sum(before.holds),
        after=sum(after.holds),
        lost=tuple(name for name, was, now in pairs if was and not now),
        regained=tuple(name for name, was, now in pairs if now and not was),
        nll_shift=sum(shifts) / len(shifts) if shifts else math.nan,
    )


def answer(model: Any, tokenizer: Any, edit: Edit) -> str:
    """The greedy continuation of an edit's prompt, as long as the longer of its targets."""
    prompt = Prompts(tokenizer).of(edit)
    start = encode_prompt(tokenizer, prompt)
    wanted = (edit.target_new, edit.target_true or "")
    found = [encode_target(tokenizer, prompt, target) for target in wanted if target]
    length = max(len(e.ids) - e.first for e in found)
    ids = list(start)
    device = entry_device(model)
    with torch.no_grad():
        for _ in range(length):
            logits = model(input_ids=torch.tensor([ids], device=device)).logits[0, -1]
            ids.append(int(logits.argmax()))
    return str(tokenizer.decode(ids[len(start) :], skip_special_tokens=True)).strip()
