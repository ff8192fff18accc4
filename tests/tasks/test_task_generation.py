"""Generated answers against the plainest greedy loop, and everything that must not matter."""

import pytest
import torch
from transformers import GenerationConfig

from revive.scoring.task_generation import write_on

PROMPTS = ["The answer is", "A", "Question: what is in the box?\nAnswer:", "Once upon a time"]


def encoded(tokenizer):
    return [tokenizer(prompt)["input_ids"] for prompt in PROMPTS]


def plain(model, tokenizer, ids, tokens):
    """One prompt, the whole text again at every step, no cache."""
    ids = list(ids)
    start = len(ids)
    for _ in range(tokens):
        with torch.no_grad():
            token = model(torch.tensor([ids])).logits[0, -1].argmax().item()
        if token == tokenizer.eos_token_id:
            break
        ids.append(token)
        if "\n" in tokenizer.decode(ids[start:]):
            break
    return tokenizer.decode(ids[start:], skip_special_tokens=True).split("\n")[0].strip()


@pytest.mark.parametrize("budget", [1, 120, 10_000])
def test_texts_are_those_of_one_prompt_at_a_time(tiny, budget):
    model, tokenizer = tiny
    ids = encoded(tokenizer)
    wanted = [plain(model, tokenizer, row, 12) for row in ids]
    assert write_on(model, tokenizer, ids, 12, max_tokens_per_batch=budget) == wanted
    turned = write_on(model, tokenizer, ids[::-1], 12, max_tokens_per_batch=budget)
    assert turned == wanted[::-1]
    assert len(set(wanted)) > 1


def test_the_librarys_own_generation_says_the_same(tiny):
    model, tokenizer = tiny
    for row, text in zip(encoded(tokenizer), write_on(*tiny, encoded(tokenizer), 12), strict=True):
        config = GenerationConfig(max_new_tokens=12, do_sample=False, pad_token_id=1)
        theirs = model.generate(
            torch.tensor([row]), attention_mask=torch.ones(1, len(row)), generation_config=config
        )
        said = tokenizer.decode(theirs[0, len(row) :], skip_special_tokens=True)
        assert text == said.split("\n")[0].strip()


def test_generation_settings_of_the_model_do_not_apply(llama):
    model, tokenizer = llama
    before = write_on(model, tokenizer, encoded(tokenizer), 12)
    kept = model.generation_config
    model.generation_config = GenerationConfig(repetition_penalty=5.0, do_sample=True, top_k=50)
    try:
        assert write_on(model, tokenizer, encoded(tokenizer), 12) == before
    finally:
        model.generation_config = kept


def test_a_wrecked_model_says_nothing_and_stops_nothing(llama):
    model, tokenizer = llama
    weight = model.lm_head.weight
    kept = weight.detach().clone()
    try:
        weight.data[:] = float("nan")
        assert write_on(model, tokenizer, encoded(tokenizer), 3) == [""] * len(PROMPTS)
    finally:
        weight.data.copy_(kept)


def test_progress_and_nothing_to_write(llama):
    seen = []
    write_on(
        *llama, encoded(llama[1]), 2, max_tokens_per_batch=1, progress=lambda *a: seen.append(a)
    )
    assert seen == [(n, 4) for n in (1, 2, 3, 4)]
    assert write_on(*llama, [], 5) == []
