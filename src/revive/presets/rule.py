"""Settings for a model that nobody published settings for.

Depth: the published ranges begin at 27 % and end at 36 % of the blocks of gpt2-xl (13-17 of 48),
and lie between 11 % and 29 % for GPT-J (3-8 of 28) and Llama-3-8B (4-8 of 32). The rule takes
27-35 % for GPT-2 and 12.5-25 % for everything else, at least three blocks where there are so many,
and never the last block. On the three published models it is one block off at most.

Targets: Polyak's step (`editors.target_solver.target_steps`), which is as long as the model's own
hidden states ask for, at most a fifth of them at a time. Published step sizes of Adam are lengths
(0.5 for the GPT families, 0.1 for Llama-3-8B) and fail on a model whose states are longer: at 0.1
two targets of twenty converge on SmolLM2-135M, whose states at block 8 are 5.8 an entry. A target
stops once its answer leads every other token by a margin in every context: a third of the
evaluations and nearly the same success (docs/findings.md). Two contexts rather than five cost half,
and no success. What the rule gives is tried on a few edits before the first batch
(`assembly.fit_settings`).

One block: ROME writes at 35 % of GPT2-XL (17 of 48) and at 16-18 % of GPT-J and Llama-3-8B (5 of 28
and of 32), with a clamp of 4; the rule takes 35 % for GPT-2 and 17 % elsewhere. Fine-tuning writes
at block 21 of 28 and of 32 (EasyEdit); the rule takes 70 %. UltraEdit writes at 64-93 % of GPT-J.

Lambda: a tenth of the key's width d_in. With C = E[k k^T] a typical key has k^T C^{-1} k = d_in, so
lambda / d_in says how far ordinary keys resist, whatever the model's scale. Published values are
0.9 (GPT-J), 1.0 (Llama-3-8B) and 3.1 (gpt2-xl) of d_in, for streams of hundreds of edits a batch;
SmolLM2-135M answers alike from 0.01 to 1, and a few edits ask for no more.
"""

from revive.presets.facts import ModelFacts

_GPT2_DEPTH = (0.27, 0.35)
_DEPTH = (0.125, 0.25)
_LEAST = 3
_ROME_GPT2, _ROME, _FT, _ULTRAEDIT = 0.35, 0.17, 0.7, (0.64, 0.93)
_RIDGE = 0.1

FITTED = ("clamp", "steps", "ridge")
"""Settings that the trial before the first batch may change."""


def layers_by_rule(facts: ModelFacts) -> list[int]:
    """Blocks to edit, by fraction of depth."""
    low, high = _GPT2_DEPTH if facts.model_type == "gpt2" else _DEPTH
    deepest = max(0, facts.blocks - 2)
    first = min(round(low * facts.blocks), deepest)
    last = min(max(round(high * facts.blocks), first + _LEAST - 1), deepest)
    return list(range(first, last + 1))


def options_by_rule(facts: ModelFacts) -> dict[str, object]:
    """Editor settings by rule."""
    return {
        "layers": layers_by_rule(facts),
        "optimizer": "polyak",
        "max_step": 0.2,
        "steps": 25,
        "stop_margin": 3.0,
        "contexts": 2,
        "ridge": _RIDGE * (facts.expert_inner or facts.inner),
        "weight_decay": 0.5,
        "kl_factor": 0.0625,
        "clamp": 0.75,
    }


def editors_by_rule(facts: ModelFacts) -> dict[str, dict[str, object]]:
    """What single editors have instead or besides, by rule."""
    gpt2 = facts.model_type == "gpt2"
    deepest = max(0, facts.blocks - 2)
    one = min(round((_ROME_GPT2 if gpt2 else _ROME) * facts.blocks), deepest)
    late = min(round(_FT * facts.blocks), deepest)
    low, high = (round(share * facts.blocks) for share in _ULTRAEDIT)
    return {
        "rome": {"layers": [one], "max_step": 1.0, "clamp": 4.0},
        "ft": {"layers": [late]},
        "ultraedit": {"layers": list(range(min(low, deepest), min(high, deepest) + 1))},
    }
