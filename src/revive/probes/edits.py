"""Edit success over all edits so far, of each fact the latest, with the current model.

Protocol: CounterFact (ROME, arXiv 2202.05262, section 3.4). Per-token mean NLL of the new and the
true target after each prompt. Efficacy and paraphrase: share with NLL(new) < NLL(true);
neighbourhood: share with NLL(true) < NLL(new); score: their harmonic mean. Greedy exact match is
reported beside each under its own name: likelihood comparisons flatter.
"""

import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from torch import Tensor

from revive.data.edits import Edit
from revive.probes.base import Measurement, Probe, ProbeContext
from revive.probes.scoring import score_targets


@dataclass(frozen=True)
class EditScores:
    """Scores of n edits; every tensor is `[n]`, NaN where an edit has no such prompt.

    Attributes:
        efficacy: 1 where the new target beats the true one on the edit's prompt.
        exact: 1 where the new target is the greedy continuation.
        paraphrase: Share of paraphrases where the new target wins.
        paraphrase_exact: Share of paraphrases with the new target as greedy continuation.
        neighborhood: Share of neighbours whose own answer beats the new target.
        neighborhood_exact: Share of neighbours whose own answer is the greedy continuation.
    """

    efficacy: Tensor
    exact: Tensor
    paraphrase: Tensor
    paraphrase_exact: Tensor
    neighborhood: Tensor
    neighborhood_exact: Tensor

    def metrics(self) -> dict[str, float]:
        """Means over edits, and the harmonic mean of the three likelihood metrics."""
        values = {
            "efficacy": _mean(self.efficacy),
            "efficacy_exact": _mean(self.exact),
            "paraphrase": _mean(self.paraphrase),
            "paraphrase_exact": _mean(self.paraphrase_exact),
            "neighborhood": _mean(self.neighborhood),
            "neighborhood_exact": _mean(self.neighborhood_exact),
        }
        present = {k: v for k, v in values.items() if v == v}
        parts = [present.get(k) for k in ("efficacy", "paraphrase", "neighborhood")]
        if all(p is not None for p in parts):
            present["score"] = harmonic_mean([p for p in parts if p is not None])
        return present


def harmonic_mean(values: Sequence[float]) -> float:
    """Harmonic mean of non-negative values; 0 if any is 0."""
    if min(values) <= 0:
        return 0.0
    return len(values) / sum(1 / v for v in values)


def score_edits(model: Any, tokenizer: Any, edits: Sequence[Edit]) -> EditScores:
    """Score every prompt of every edit in one batched sweep."""
    requests: list[tuple[str, str]] = []
    places: dict[tuple[str, str], int] = {}

    def ask(prompt: str, target: str) -> int:
        key = (prompt, target)
        if key not in places:
            places[key] = len(requests)
            requests.append(key)
        return places[key]

    def both(prompt: str, new: str, true: str | None) -> tuple[int, int]:
        return ask(prompt, new), ask(prompt, true) if true else -1

    own = [both(e.text, e.target_new, e.target_true) for e in edits]
    paraphrases = [[both(p, e.target_new, e.target_true) for p in e.paraphrases] for e in edits]
    neighbors = [[both(n.prompt, e.target_new, n.target) for n in e.neighborhood] for e in edits]
    scores = score_targets(model, tokenizer, [p for p, _ in requests], [t for _, t in requests])
    nll, exact = scores.nll.double().cpu().tolist(), scores.exact.cpu().tolist()

    def new_wins(pair: tuple[int, int]) -> float:
        return float(nll[pair[0]] < nll[pair[1]]) if pair[1] >= 0 else float("nan")

    return EditScores(
        efficacy=_column([new_wins(p) for p in own]),
        exact=_column([float(exact[p[0]]) for p in own]),
        paraphrase=_column([_share([new_wins(p) for p in ps]) for ps in paraphrases]),
        paraphrase_exact=_column([_share([float(exact[p[0]]) for p in ps]) for ps in paraphrases]),
        neighborhood=_column([_share([float(nll[t] < nll[n]) for n, t in ps]) for ps in neighbors]),
        neighborhood_exact=_column([_share([float(exact[t]) for _, t in ps]) for ps in neighbors]),
    )


@final
class EditsProbe(Probe):
    """Efficacy, paraphrase, neighbourhood, score and exact match, with retention by age."""

    name: ClassVar[str] = "edits"
    summary: ClassVar[str] = "edit success over all edits so far, with the current model"

    def __init__(self, sample: int | None = None, age_bins: int = 5) -> None:
        """Set up.

        Args:
            sample: Measure this many edits, drawn by seed; None measures all.
            age_bins: Number of age groups of the retention curve.
        """
        self.sample = sample
        self.age_bins = age_bins

    def measure(self, context: ProbeContext) -> Measurement:
        """Score all edits that stand, or a sample; age is counted in edits that stand."""
        count = len(context.edits)
        if count == 0:
            return Measurement({})
        chosen = list(range(count))
        if self.sample is not None and self.sample < count:
            rng = random.Random(f"{context.seed}:{count}")
            chosen = sorted(rng.sample(chosen, self.sample))
        scores = score_edits(context.model, context.tokenizer, [context.edits[i] for i in chosen])
        return Measurement(scores.metrics(), len(chosen), self._retention(chosen, count, scores))

    def _retention(
        self, chosen: Sequence[int], count: int, scores: EditScores
    ) -> list[dict[str, float]]:
        age = torch.tensor([count - 1 - i for i in chosen])
        edges = [round(count * b / self.age_bins) for b in range(self.age_bins + 1)]
        rows: list[dict[str, float]] = []
        for low, high in itertools.pairwise(edges):
            inside = (age >= low) & (age < high)
            if bool(inside.any()):
                rows.append(
                    {
                        "age_from": low,
                        "age_to": high - 1,
                        "count": int(inside.sum()),
                        "efficacy": _mean(scores.efficacy[inside]),
                        "efficacy_exact": _mean(scores.exact[inside]),
                    }
                )
        return rows


def _column(values: Sequence[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def _share(values: Sequence[float]) -> float:
    known = [v for v in values if v == v]
    return sum(known) / len(known) if known else float("nan")


def _mean(values: Tensor) -> float:
    return float(values.nanmean()) if len(values) else float("nan")
