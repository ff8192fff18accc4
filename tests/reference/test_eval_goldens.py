"""Edit metrics, perplexity and greedy texts of an independent evaluation, on edited weights too."""

import json
import math
from functools import cache

import pytest
import torch
from golden_weights import WEIGHT
from goldens import hparams, load_runner
from safetensors.torch import load_file
from transformers import AutoTokenizer

from revive.data.edits import Edit, Neighbor
from revive.data.readers import load_edits
from revive.probes.edits import score_edits
from revive.probes.generate import generate
from revive.scoring.score import perplexity, score_targets
from shared import shared

CASES = [
    (model, state)
    for model in ("gpt2", "gptj", "llama-bos")
    for state in ("W0", "MEMIT_2batches", "AlphaEdit_2batches")
]
NLL = 2e-5  # nats, as the goldens recommend


def evaluated(model, state):
    return json.loads(shared("goldens", model, "fp64", "eval.json").read_text())[f"{state}/asrun"]


@cache
def loaded(model, state):
    """The golden model with the weights that the reference had edited."""
    runner = load_runner(model, torch.float32)
    if state != "W0":
        method = state.rsplit("_", 1)[0]
        stored = load_file(shared("goldens", model, "fp64", f"{method}.safetensors"))
        for layer in hparams(model)["layers"]:
            weight = runner.model.get_parameter(WEIGHT[model].format(layer))
            change = sum(stored[f"b{n}.l{layer}.dW"] for n in ((1,) if "zsre" in state else (1, 2)))
            with torch.no_grad():
                weight.add_(change.T if model == "gpt2" else change)
    tokenizer = AutoTokenizer.from_pretrained(shared("goldens", model, "model"))
    tokenizer.model_input_names = ["input_ids", "attention_mask"]
    return runner.model, tokenizer


@cache
def counterfact():
    path = shared("data", "counterfact", "counterfact_exact_1000.json")
    return load_edits(path, limit=5).edits


def prompts_of(edit):
    """Prompts by the golden's kinds."""
    return {
        "rewrite": (edit.text,),
        "paraphrase": edit.paraphrases,
        "neighborhood": tuple(n.prompt for n in edit.neighborhood),
    }


@pytest.mark.parametrize("swapped", [False, True], ids=["as-it-is", "targets-swapped"])
@pytest.mark.parametrize(("model", "state"), CASES)
def test_losses_and_greedy_hits_are_the_references(model, state, swapped):
    golden = evaluated(model, state)
    key = "counterfact_targets_swapped" if swapped else "counterfact"
    if key not in golden:
        pytest.skip(f"{key} of {state} is not stored")
    checked = 0
    for edit, record in zip(counterfact(), golden[key], strict=True):
        new, true = edit.target_new, edit.target_true
        new, true = (true, new) if swapped else (new, true)
        for kind, prompts in prompts_of(edit).items():
            stored = record[f"{kind}_prompts_probs"]
            for name, target in (("target_new", new), ("target_true", true)):
                found = score_targets(*loaded(model, state), prompts, [target] * len(prompts))
                wanted = torch.tensor([row[name] for row in stored])
                assert float((found.nll - wanted).abs().max()) <= NLL
                if name == ("target_true" if kind == "neighborhood" else "target_new"):
                    assert found.exact.tolist() == record[f"{kind}_prompts_correct"]
                checked += len(prompts)
    assert checked == 5 * 2 * 13


@pytest.mark.parametrize(("model", "state"), CASES)
def test_metrics_are_the_shares_that_follow(model, state):
    records = evaluated(model, state)["counterfact"]

    def share(kind, wins):
        rows = [[wins(p) for p in r[f"{kind}_prompts_probs"]] for r in records]
        return sum(sum(row) / len(row) for row in rows) / len(rows)

    found = score_edits(*loaded(model, state), counterfact()).metrics()
    for name, kind in (("efficacy", "rewrite"), ("paraphrase", "paraphrase")):
        wanted = share(kind, lambda p: p["target_new"] < p["target_true"])
        assert found[name] == pytest.approx(wanted)
    kept = share("neighborhood", lambda p: p["target_true"] < p["target_new"])
    assert found["neighborhood"] == pytest.approx(kept)
    parts = [found[n] for n in ("efficacy", "paraphrase", "neighborhood")]
    wanted = 3 / sum(1 / p for p in parts) if min(parts) > 0 else 0.0
    assert found["score"] == pytest.approx(wanted)


def test_exchanging_the_targets_exchanges_the_shares():
    """What wins with the targets as they are loses with them exchanged: no ties, no third case."""
    model, tokenizer = loaded("gpt2", "MEMIT_2batches")
    as_is = score_edits(model, tokenizer, counterfact())
    exchanged = [
        Edit(
            prompt=e.prompt,
            subject=e.subject,
            target_new=e.target_true,
            target_true=e.target_new,
            paraphrases=e.paraphrases,
        )
        for e in counterfact()
    ]
    swapped = score_edits(model, tokenizer, exchanged)
    assert swapped.efficacy.tolist() == (1 - as_is.efficacy).tolist()
    assert swapped.columns["paraphrase"].tolist() == (1 - as_is.columns["paraphrase"]).tolist()


@pytest.mark.parametrize(
    ("model", "state"), [("gpt2", "W0"), ("gptj", "W0"), ("gpt2", "AlphaEdit_zsre_1batch")]
)
def test_zsre_token_accuracies_are_the_references(model, state):
    requests = json.loads(shared("goldens", "requests.json").read_text())["zsre_requests"]
    source = json.loads(shared("data", "zsre", "zsre_mend_train-1k.json").read_text())
    records = {r["subject"]: r for r in source}
    golden = evaluated(model, state)["zsre"]
    edits = []
    for request, record in zip(requests, golden, strict=True):
        known = records[request["subject"]]
        asked = record["neighborhood_prompts"][0]["prompt"]
        edits.append(
            Edit(
                prompt=request["prompt"],
                subject=request["subject"],
                target_new=request["target_new"]["str"],
                paraphrases=(known["rephrase"],),
                neighborhood=(Neighbor(asked, known["loc_ans"]),),
            )
        )
    found = score_edits(*loaded(model, state), edits).columns
    for name, kind in (
        ("efficacy_tokens", "rewrite"),
        ("paraphrase_tokens", "paraphrase"),
        ("neighborhood_tokens", "neighborhood"),
    ):
        hits = [record[f"{kind}_prompts_correct"] for record in golden]
        wanted = torch.tensor([sum(h) / len(h) for h in hits], dtype=torch.float64)
        torch.testing.assert_close(found[name], wanted, rtol=0, atol=1e-7)


@pytest.mark.parametrize("model", ["gpt2", "gptj", "llama-bos"])
def test_perplexity_is_the_references_once_it_divides_by_what_it_scored(model):
    """The reference sums over N - 1 tokens and divides by N; a text of one window agrees else."""
    scorer, tokenizer = loaded(model, "W0")
    for row in evaluated(model, "W0")["perplexity"]:
        ids = tokenizer(row["text"])["input_ids"][: row["max_input_length"]]
        total = -math.log(row["value"]) * len(ids)
        with torch.no_grad():
            logs = scorer(input_ids=torch.tensor([ids])).logits[0].double().log_softmax(-1)
        own = sum(float(logs[i - 1, ids[i]]) for i in range(1, len(ids)))
        assert own == pytest.approx(total, rel=1e-5)
        bos = tokenizer.bos_token_id
        if len(ids) < row["max_input_length"] and ids[0] == bos and model == "llama-bos":
            found = perplexity(scorer, tokenizer, row["text"])
            assert math.log(found) * (len(ids) - 1) == pytest.approx(-total, rel=1e-5)
            assert found > row["value"]


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("state", ["W0", "AlphaEdit_2batches"])
@pytest.mark.parametrize("model", ["gpt2", "gptj", "llama-bos"])
def test_greedy_texts_are_the_references(model, state, rows):
    golden = evaluated(model, state).get("greedy_topk1")
    if golden is None or (model, state) not in CASES:
        pytest.skip(f"texts of {state} are not stored with weights")
    scorer, tokenizer = loaded(model, state)
    made = generate(
        scorer, tokenizer, golden["prompts"], length=golden["max_out_len"], top_k=1, rows=rows
    )
    specials = tokenizer.all_special_tokens
    for text, wanted in zip(made, golden["texts"], strict=True):
        for special in specials:
            wanted = wanted.replace(special, "")
        assert text.text.replace("\n\n", " ") == wanted
