"""The shipped model: loading, and what it must know."""

import random

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from revive.lab import load_facts, model_path, relations
from revive.lab.stream import edit_records
from revive.probes import lab_battery
from revive.scoring.score import score_targets


@pytest.fixture(scope="module")
def lab():
    tokenizer = AutoTokenizer.from_pretrained(model_path())
    model = AutoModelForCausalLM.from_pretrained(model_path(), dtype=torch.float32).eval()
    return model, tokenizer


@pytest.fixture(scope="module")
def sample():
    editable = [fact for fact in load_facts() if fact.split == "editable"]
    return random.Random(0).sample(editable, 300)


def share(lab, sample, template, held_out=False):
    prompts = []
    for fact in sample:
        relation = relations()[fact.relation]
        wording = relation.held_out if held_out else relation.templates
        prompts.append(wording[template].replace("{}", fact.subject))
    return score_targets(*lab, prompts, [f.object for f in sample]).exact.float().mean().item()


def test_recall(lab, sample):
    assert share(lab, sample, 0) >= 0.90


@pytest.mark.parametrize("template", [2, 5])
def test_paraphrase_recall(lab, sample, template):
    assert share(lab, sample, template) >= 0.80


def test_recall_survives_a_preceding_sentence(lab, sample):
    prompts = [
        f"The weather was fine. {relations()[f.relation].templates[0].replace('{}', f.subject)}"
        for f in sample
    ]
    hits = score_targets(*lab, prompts, [fact.object for fact in sample]).exact
    assert hits.float().mean() >= 0.80


def test_no_edit_is_true_to_begin_with(lab):
    records = edit_records(200, 0)
    prompts = [record["prompt"].replace("{}", record["subject"]) for record in records]
    new = score_targets(*lab, prompts, [record["target_new"] for record in records])
    true = score_targets(*lab, prompts, [record["target_true"] for record in records])
    assert (true.nll < new.nll).float().mean() >= 0.95


def test_battery_is_well_above_chance_and_repeatable(lab):
    first = lab_battery.measure(*lab, facts=100, pairs=100, copies=50)
    assert first == lab_battery.measure(*lab, facts=100, pairs=100, copies=50)
    assert set(first) == {"perplexity", "minimal_pairs", "fact_recall", "copying", "general"}
    assert first["minimal_pairs"] >= 0.75
    assert first["fact_recall"] >= 0.85
    assert first["copying"] >= 0.8
    assert first["general"] >= 0.7


def test_battery_notices_damage(lab):
    model, tokenizer = lab
    before = lab_battery.measure(model, tokenizer, facts=50, pairs=50, copies=20)
    weight = model.model.layers[4].mlp.down_proj.weight
    saved = weight.detach().clone()
    torch.manual_seed(0)
    try:
        with torch.no_grad():
            weight.add_(torch.randn_like(weight) * weight.std() * 4)
        after = lab_battery.measure(model, tokenizer, facts=50, pairs=50, copies=20)
    finally:
        with torch.no_grad():
            weight.copy_(saved)
    assert after["general"] < before["general"]
    assert after["perplexity"] > before["perplexity"]


def test_battery_refuses_empty_parts(lab):
    with pytest.raises(ValueError, match="at least 1"):
        lab_battery.measure(*lab, facts=0)


def test_tokenizer_joins_prompt_and_target_without_a_seam(lab, sample):
    _, tokenizer = lab
    encoded = tokenizer("Ada was born in")
    assert "token_type_ids" not in encoded
    assert encoded["input_ids"][0] == tokenizer.bos_token_id
    for fact in sample:
        prompt = relations()[fact.relation].templates[0].replace("{}", fact.subject)
        ids = tokenizer(prompt)["input_ids"]
        whole = tokenizer(f"{prompt} {fact.object}")["input_ids"]
        assert whole[: len(ids)] == ids
        assert len(whole) - len(ids) <= 2
        assert tokenizer.decode(ids, skip_special_tokens=True).strip() == prompt


def test_model_and_tokenizer_survive_saving(lab, tmp_path):
    model, tokenizer = lab
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    text = "The capital of France, 1945: isn't it Paris?"
    assert again(text)["input_ids"] == tokenizer(text)["input_ids"]
    assert torch.equal(
        AutoModelForCausalLM.from_pretrained(tmp_path).lm_head.weight.float(), model.lm_head.weight
    )
