"""General abilities of a model, none of them about edited facts.

Four parts: perplexity on held-out prose, grammatical minimal pairs, recall of facts that are
never edited, and copying in context. Items are fixed by the seed, so two models, or one model
before and after editing, see the same ones.
"""

import random
from functools import cache

from torch import nn
from transformers import PreTrainedTokenizerBase

from revive.lab import copying, grammar
from revive.lab.facts import Fact, data_path, load_facts, relations, state
from revive.scoring.score import pair_accuracy, perplexity, score_targets

WINDOW = 96  # tokens; the lab model was trained on documents of at most this length


def measure(
    model: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    *,
    facts: int = 300,
    pairs: int = 300,
    copies: int = 100,
    words: int | None = None,
    seed: int = 0,
) -> dict[str, float]:
    """Run the battery.

    Args:
        model: Causal language model.
        tokenizer: Its tokenizer.
        facts: Kept facts to recall, at most as many as there are.
        pairs: Minimal pairs.
        copies: Copying pairs.
        words: Of the prose, from its beginning; None for all of it.
        seed: Seed of the items.

    Returns:
        `perplexity` per token of the held-out prose; `minimal_pairs`, `fact_recall` and
        `copying` as shares of items answered right; `general`, the mean of those three after
        `minimal_pairs` and `copying` are rescaled so that guessing scores 0.

    Raises:
        ValueError: If a part is asked for no items.
    """
    return {
        "perplexity": perplexity(model, tokenizer, prose(words), window=WINDOW),
        **skills(model, tokenizer, facts=facts, pairs=pairs, copies=copies, seed=seed),
    }


def skills(
    model: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    *,
    facts: int,
    pairs: int,
    copies: int,
    seed: int = 0,
) -> dict[str, float]:
    """The battery without perplexity; as `measure`."""
    if min(facts, pairs, copies) < 1:
        raise ValueError(
            f"battery: facts={facts}, pairs={pairs}, copies={copies}; each must be at least 1"
        )
    sentences = grammar.minimal_pairs(pairs, seed)
    copied = copying.pairs(copies, seed)
    shares = {
        "minimal_pairs": pair_accuracy(
            model, tokenizer, [pair.good for pair in sentences], [pair.bad for pair in sentences]
        ),
        "fact_recall": recall(model, tokenizer, kept_facts(facts, seed)),
        "copying": pair_accuracy(
            model, tokenizer, [pair.good for pair in copied], [pair.bad for pair in copied]
        ),
    }
    skill = (
        _above_chance(shares["minimal_pairs"]),
        shares["fact_recall"],
        _above_chance(shares["copying"]),
    )
    return {**shares, "general": sum(skill) / len(skill)}


def _above_chance(share: float) -> float:
    """A share of two-way choices, rescaled from [0.5, 1] to [0, 1]."""
    return max(0.0, 2 * share - 1)


def recall(
    model: nn.Module, tokenizer: PreTrainedTokenizerBase, facts: list[Fact], template: int = 0
) -> float:
    """Share of facts whose object is the greedy continuation of one of its relation's templates."""
    prompts = [
        state(relations()[fact.relation].templates[template], fact.subject) for fact in facts
    ]
    return _exact(model, tokenizer, prompts, [fact.object for fact in facts])


def kept_facts(count: int, seed: int) -> list[Fact]:
    """A sample of the facts that are never edited."""
    kept = [fact for fact in load_facts() if fact.split == "kept"]
    return random.Random(f"kept {seed}").sample(kept, min(count, len(kept)))


@cache
def prose(words: int | None = None) -> str:
    """Held-out ordinary prose, written for this package and never trained on: its first words."""
    text = data_path("prose.txt").read_text(encoding="utf-8").strip()
    return text if words is None else " ".join(text.split()[:words])


def _exact(
    model: nn.Module, tokenizer: PreTrainedTokenizerBase, prompts: list[str], targets: list[str]
) -> float:
    return score_targets(model, tokenizer, prompts, targets).exact.double().mean().item()
