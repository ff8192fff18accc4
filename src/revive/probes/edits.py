"""Edit success over all edits so far, of each fact the latest, with the current model.

Protocol: CounterFact (ROME, arXiv 2202.05262, section 3.4). Per-token mean NLL of the new and the
true target after each prompt. Efficacy and paraphrase: share with NLL(new) < NLL(true);
neighbourhood: share with NLL(true) < NLL(new); score: their harmonic mean. On attribute prompts,
whose true answer is the new target, the share with NLL(new) < NLL(true) is told as it is: it falls
where that knowledge is lost and grows where the new target leaks everywhere. Greedy exact match
(`_exact`) and the share of target tokens that are first choices (`_tokens`, zsRE's measure) are
reported under their own names: likelihood comparisons flatter, and token shares do, too.
"""

import itertools
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from torch import Tensor

from revive.data.edits import Edit
from revive.data.prompts import Prompt, Prompts
from revive.probes.base import Measurement, Probe, ProbeContext, edits_digest
from revive.probes.edit_scores import EditScores, shares
from revive.scoring.score import TargetScores, score_targets


@dataclass(frozen=True)
class _Pair:
    """A prompt with the new and the true target: places of their scores, -1 for none."""

    new: int
    true: int


def score_edits(
    model: Any, tokenizer: Any, edits: Sequence[Edit], made: Sequence[Edit] | None = None
) -> EditScores:
    """Score every prompt of every edit, in the edit's form, in one batched sweep.

    Args:
        model: Causal language model.
        tokenizer: Its tokenizer.
        edits: What is scored.
        made: All edits that are in the model, if `edits` is a part of them; a chain of facts counts
            once all edits that it rests on are there.
    """
    asked, read = _Asked(), Prompts(tokenizer).of
    there = {(e.text, e.target_new) for e in (edits if made is None else made)}
    chains = [[c for c in e.multi_hop if there.issuperset(c.needs)] for e in edits]
    own = [[asked.pair(read(e), e.target_new, e.target_true)] for e in edits]
    paraphrases = [
        [asked.pair(read(e, p), e.target_new, e.target_true) for p in e.paraphrases] for e in edits
    ]
    neighbors = [
        [asked.pair(read(e, n.prompt), e.target_new, n.target) for n in e.neighborhood]
        for e in edits
    ]
    attributes = [
        [asked.pair(read(e, p), e.target_new, e.target_true) for p in e.attribute_prompts]
        for e in edits
    ]
    ported = [[asked.each([read(e, q.prompt)], q.answers) for q in e.portability] for e in edits]
    hops = [
        [asked.each([read(e, q) for q in c.questions], c.answers) for c in found]
        for e, found in zip(edits, chains, strict=True)
    ]
    scores = asked.score(model, tokenizer)
    nll: list[float] = scores.nll.double().tolist()
    exact: list[float] = scores.exact.double().tolist()
    accuracy: list[float] = scores.accuracy.double().tolist()

    def new_wins(pair: _Pair) -> float:
        return float(nll[pair.new] < nll[pair.true]) if pair.true >= 0 else float("nan")

    def true_wins(pair: _Pair) -> float:
        return float(nll[pair.true] < nll[pair.new])

    def best(values: Sequence[float]) -> Callable[[Sequence[int]], float]:
        return lambda places: max(values[place] for place in places)

    return EditScores(
        {
            "efficacy": shares(own, new_wins),
            "efficacy_exact": shares(own, lambda p: exact[p.new]),
            "efficacy_tokens": shares(own, lambda p: accuracy[p.new]),
            "paraphrase": shares(paraphrases, new_wins),
            "paraphrase_exact": shares(paraphrases, lambda p: exact[p.new]),
            "paraphrase_tokens": shares(paraphrases, lambda p: accuracy[p.new]),
            "neighborhood": shares(neighbors, true_wins),
            "neighborhood_exact": shares(neighbors, lambda p: exact[p.true]),
            "neighborhood_tokens": shares(neighbors, lambda p: accuracy[p.true]),
            "attribute": shares(attributes, new_wins),
            "attribute_exact": shares(attributes, lambda p: exact[p.new]),
            "portability_exact": shares(ported, best(exact)),
            "portability_tokens": shares(ported, best(accuracy)),
            "multi_hop_exact": shares(hops, best(exact)),
        }
    )


class _Asked:
    """Prompts with targets, each pair of them once."""

    def __init__(self) -> None:
        self._places: dict[tuple[Prompt, str], int] = {}

    def pair(self, prompt: Prompt, new: str, true: str | None) -> _Pair:
        return _Pair(self._ask(prompt, new), self._ask(prompt, true) if true else -1)

    def each(self, prompts: Sequence[Prompt], targets: Sequence[str]) -> list[int]:
        """Places of every prompt with every target."""
        return [self._ask(prompt, target) for prompt in prompts for target in targets]

    def score(self, model: Any, tokenizer: Any) -> TargetScores:
        prompts = [prompt for prompt, _ in self._places]
        targets = [target for _, target in self._places]
        return score_targets(model, tokenizer, prompts, targets)

    def _ask(self, prompt: Prompt, target: str) -> int:
        return self._places.setdefault((prompt, target), len(self._places))


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
        scores = score_edits(
            context.model,
            context.tokenizer,
            [context.edits[i] for i in chosen],
            made=context.edits,
        )
        return Measurement(
            scores.metrics(),
            len(chosen),
            self._retention(chosen, count, scores),
            intervals=scores.intervals(context.seed),
            outcomes=scores.outcomes([context.edits[i].id for i in chosen]),
        )

    def depends_on(self, context: ProbeContext) -> Mapping[str, Any]:
        """The edits, the seed, and how they are sampled."""
        return {
            "edits": edits_digest(context.edits),
            "seed": context.seed,
            "sample": self.sample,
            "age_bins": self.age_bins,
        }

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


def _mean(values: Tensor) -> float:
    return float(values.nanmean()) if len(values) else float("nan")
