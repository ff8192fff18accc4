"""Scoring with shared prefixes: the same scores, for far fewer positions."""

import random

import pytest
import torch
from tiny import BUILDERS, VOCABULARY, tiny_model
from transformers import LlamaConfig, LlamaForCausalLM

from revive.data.readers import load_edits
from revive.models.loading import load_model
from revive.probes.edits import score_edits
from revive.scoring import token_scores
from revive.scoring.prefix_tree import grow, visible
from revive.scoring.token_scores import score_tokens
from shared import shared


def sharing_sequences(count=120, seed=0):
    """Sequences of 3 to 60 tokens; many begin alike, some are prefixes of others."""
    rng = random.Random(seed)
    stems = [[rng.randrange(VOCABULARY) for _ in range(50)] for _ in range(3)]
    made = []
    for _ in range(count):
        stem = rng.choice(stems)[: rng.randrange(2, 50)]
        made.append([*stem, *(rng.randrange(VOCABULARY) for _ in range(rng.randrange(1, 10)))])
    return made


def one_by_one(model, sequences, starts):
    found = []
    for sequence, start in zip(sequences, starts, strict=True):
        with torch.no_grad():
            logs = model(input_ids=torch.tensor([sequence])).logits[0].float().log_softmax(-1)
        rows, tokens = logs[start - 1 : -1], torch.tensor(sequence[start:])
        found.append(-rows.gather(1, tokens[:, None])[:, 0])
    return found


ROWS_ONLY = {"bloom", "gemma2", "gemma3", "mistral", "olmo3"}
"""Models whose attention looks at places rather than at positions: short windows, and ALiBi."""


@pytest.mark.parametrize(
    ("name", "attention"),
    [*((name, "eager") for name in sorted(BUILDERS)), ("llama", "sdpa"), ("gpt2", "sdpa")],
)
def test_scores_are_those_of_the_sequences_one_by_one(name, attention, monkeypatch):
    model = tiny_model(name, dtype=torch.float32)
    model.set_attn_implementation(attention)
    used = []
    real = token_scores.run_trees
    monkeypatch.setattr(token_scores, "run_trees", lambda *a: used.append(1) or real(*a))
    sequences = sharing_sequences(70)
    starts = [max(1, len(s) - 4) for s in sequences]
    found = score_tokens(model, sequences, starts, 4096)
    wanted = one_by_one(model, sequences, starts)
    assert max(float((f.nll - w).abs().max()) for f, w in zip(found, wanted, strict=True)) < 1e-5
    assert (len(used) > 1) == (name not in ROWS_ONLY), "which models are scored by trees"


def test_a_model_that_does_not_follow_the_mask_is_scored_plainly(monkeypatch):
    """The control: with a causal mask over the row trees would be wrong, and are not used."""
    model = tiny_model("llama", dtype=torch.float32)
    sequences = sharing_sequences()
    starts = [len(s) - 1 for s in sequences]
    wanted = one_by_one(model, sequences, starts)
    monkeypatch.setattr(
        "revive.scoring.tree_forward.visible",
        lambda lasts: torch.ones(*lasts.shape, lasts.shape[1], dtype=torch.bool).tril(),
    )
    found = score_tokens(model, sequences, starts, 4096)
    assert max(float((f.nll - w).abs().max()) for f, w in zip(found, wanted, strict=True)) < 1e-5
    monkeypatch.setattr(token_scores, "_agrees", lambda *_: True)
    broken = score_tokens(model, sequences, starts, 4096)
    assert max(float((f.nll - w).abs().max()) for f, w in zip(broken, wanted, strict=True)) > 0.1


def test_a_node_sees_its_own_prefix_and_nothing_else():
    sequences = [tuple(s) for s in sharing_sequences(60)]
    forest = grow(sequences, 128)
    for sequence, place in zip(sequences, forest.places, strict=True):
        row = forest.rows[place.row]
        assert tuple(row.tokens[n] for n in place.nodes) == sequence
        assert [row.depths[n] for n in place.nodes] == list(range(len(sequence)))
        seen = visible(torch.tensor([row.lasts]))[0, place.nodes[-1]]
        assert seen.nonzero()[:, 0].tolist() == list(place.nodes)
    assert max(len(r.tokens) for r in forest.rows) <= 128


def distinct_prefixes(sequences):
    return len({tuple(s[:n]) for s in sequences for n in range(1, len(s) + 1)})


def test_a_thousand_counterfact_records_cost_little_more_than_their_distinct_tokens(monkeypatch):
    """Positions through the blocks, padding and rows' repeats included, and through the head."""
    path = shared("data", "counterfact", "counterfact_exact_1000.json")
    edits = load_edits(path, on_conflict="last").edits
    tokenizer = load_model("lab").tokenizer
    torch.manual_seed(0)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=8,
            intermediate_size=8,
            num_hidden_layers=1,
            num_attention_heads=1,
            max_position_embeddings=512,
            attn_implementation="eager",
        )
    ).eval()
    through = {"blocks": 0, "head": 0}

    def count(key):
        def hook(_module, _args, output):
            states = output[0] if isinstance(output, tuple) else output
            through[key] += states.shape[0] * states.shape[1]

        return hook

    model.model.layers[0].register_forward_hook(count("blocks"))
    model.lm_head.register_forward_hook(count("head"))
    asked = []
    real = token_scores.score_tokens

    def listen(m, sequences, starts, budget):
        asked.append((sequences, starts))
        return real(m, sequences, starts, budget)

    monkeypatch.setattr("revive.scoring.score.score_tokens", listen)
    score_edits(model, tokenizer, edits)
    ((sequences, starts),) = asked
    assert len(edits) > 990
    assert len(sequences) > 20 * 2 * len(edits)
    read = [s[:-1] for s in sequences]
    assert through["blocks"] <= 1.3 * distinct_prefixes(read)
    predicted = {
        tuple(s[:n])
        for s, start in zip(sequences, starts, strict=True)
        for n in range(start, len(s))
    }
    assert through["head"] <= 1.05 * len(predicted)
