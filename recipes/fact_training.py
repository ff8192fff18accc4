"""What the recipes of foreign training share: facts to learn, what is measured, one table."""

import itertools
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from revive.data.readers import load_edits
from revive.guards import LeftOnly, NoGuard, NormMatched, RandomSubspace, Revive
from revive.guards.base import Guard
from revive.models.loading import LoadedModel, load_model
from revive.studies.ability import QUICK, model_ability

FACTS = 64
LEVELS = (2.0, 1.0, 0.5)
"""Training losses, nats per token, at which arms are compared."""

GUARDS: Mapping[str, Guard] = {
    "no guard": NoGuard(),
    "revive .1": Revive(energy=0.1),
    "revive .3": Revive(energy=0.3),
    "left-only .3": LeftOnly(energy=0.3),
    "random subspace .3": RandomSubspace(energy=0.3),
    "norm-matched .3": NormMatched(energy=0.3),
}


@dataclass(frozen=True)
class Point:
    """One measurement on the way."""

    loss: float
    general: float
    likelihood: float


@dataclass(frozen=True)
class Facts:
    """Counterfactual sentences to be learnt.

    Attributes:
        ids: `[facts, length]` token ids, right padded.
        mask: `[facts, length]`, 1 for real tokens.
        labels: `[facts, length]`, the target's ids, -100 elsewhere.
    """

    ids: Tensor
    mask: Tensor
    labels: Tensor

    def loss(self, model: torch.nn.Module, chosen: Sequence[int] | slice = slice(None)) -> Tensor:
        """Mean negative log-likelihood of the targets' tokens."""
        rows = self.ids[chosen], self.mask[chosen], self.labels[chosen]
        return model(input_ids=rows[0], attention_mask=rows[1], labels=rows[2]).loss


class Subject:
    """A fresh lab model, the facts it is to learn, and what is measured of it."""

    def __init__(self, seed: int) -> None:
        torch.manual_seed(seed)
        self.loaded: LoadedModel = load_model("lab", device="cpu")
        self.facts = _facts(self.loaded, seed)
        self._ability = model_ability(self.loaded, items=QUICK)

    def measure(self) -> Point:
        """Training loss, general ability, and likelihood of held-out prose."""
        self.loaded.model.eval()
        with torch.no_grad():
            loss = float(self.facts.loss(self.loaded.model))
        values = self._ability()
        return Point(loss, values["general"], values["log_likelihood"])


def _facts(loaded: LoadedModel, seed: int) -> Facts:
    rows: list[tuple[list[int], int]] = []
    for edit in load_edits("lab", limit=FACTS, seed=seed).edits:
        prompt = edit.template.replace("{}", edit.subject)
        start = len(loaded.tokenizer(prompt)["input_ids"])
        rows.append((loaded.tokenizer(f"{prompt} {edit.target_new}")["input_ids"], start))
    length = max(len(ids) for ids, _ in rows)
    ids = torch.zeros(len(rows), length, dtype=torch.long)
    mask, labels = torch.zeros_like(ids), torch.full_like(ids, -100)
    for i, (tokens, start) in enumerate(rows):
        ids[i, : len(tokens)] = torch.tensor(tokens)
        mask[i, : len(tokens)] = 1
        labels[i, start : len(tokens)] = ids[i, start : len(tokens)]
    return Facts(ids, mask, labels)


def print_table(
    arms: Sequence[str], seeds: Sequence[int], path: Callable[[str, int], list[Point]]
) -> None:
    """Run every arm on every seed; print one row an arm, as soon as it is known."""
    print(f"General ability, and nats per token of held-out prose, at training loss {LEVELS}.\n")
    heads = " | ".join(f"general at {x} | prose at {x}" for x in LEVELS)
    print(f"| arm | {heads} | end loss |")
    print("|---" * (2 * len(LEVELS) + 2) + "|")
    for arm in arms:
        paths = [path(arm, seed) for seed in seeds]
        cells = [
            _spread([_at_loss(p, level, measure) for p in paths])
            for level in LEVELS
            for measure in ("general", "likelihood")
        ]
        ends = _spread([p[-1].loss for p in paths])
        print(f"| {arm} | {' | '.join(cells)} | {ends} |", flush=True)


def _at_loss(points: Sequence[Point], level: float, name: str) -> float | None:
    """Ability where training loss first comes down to a level; None if it never does."""
    for before, after in itertools.pairwise(points):
        if after.loss <= level < before.loss:
            part = (before.loss - level) / (before.loss - after.loss)
            low, high = getattr(before, name), getattr(after, name)
            return low + part * (high - low)
    return None


def _spread(values: Sequence[float | None]) -> str:
    """Mean and standard deviation of those that are there."""
    known = [v for v in values if v is not None]
    if not known:
        return "-"
    text = f"{statistics.fmean(known):.3f}"
    if len(known) > 1:
        text += f" ± {statistics.stdev(known):.3f}"
    return text if len(known) == len(values) else f"{text} ({len(known)} of {len(values)})"
