import math

import pytest
import torch
from transformers.modeling_outputs import CausalLMOutput

from revive.scoring.score import pair_accuracy, perplexity, score_targets

PROMPTS = ["The capital of France is", "A", "In a long and winding sentence the answer is", "Two"]
TARGETS = ["Paris", "b", "x y", "words here"]


def reference(model, tokenizer, prompt, target):
    """One sequence at a time, no padding, no mask."""
    start = len(tokenizer(prompt)["input_ids"])
    ids = tokenizer(f"{prompt} {target}")["input_ids"]
    with torch.no_grad():
        logs = model(torch.tensor([ids])).logits[0].float().log_softmax(-1)
    nll = [-logs[place - 1, ids[place]].item() for place in range(start, len(ids))]
    hits = [logs[place - 1].argmax().item() == ids[place] for place in range(start, len(ids))]
    return sum(nll) / len(nll), all(hits)


def test_scores_equal_the_plain_reference(tiny):
    scores = score_targets(*tiny, PROMPTS, TARGETS)
    wanted = [reference(*tiny, *pair) for pair in zip(PROMPTS, TARGETS, strict=True)]
    torch.testing.assert_close(scores.nll, torch.tensor([nll for nll, _ in wanted]))
    assert scores.exact.tolist() == [hit for _, hit in wanted]
    assert scores.nll.dtype == torch.float32


class Oracle(torch.nn.Module):
    """Knows by heart how some texts go on, except after one token; takes no optional argument."""

    def __init__(self, texts, blind):
        super().__init__()
        self.following = {tuple(t[:n]): t[n] for t in texts for n in range(1, len(t))}
        self.blind = blind
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, input_ids, attention_mask, use_cache):
        guess = torch.zeros_like(input_ids)
        for row, ids in enumerate(input_ids.tolist()):
            for place, token in enumerate(ids):
                if token != self.blind:
                    guess[row, place] = self.following.get(tuple(ids[: place + 1]), 0)
        logits = torch.nn.functional.one_hot(guess, 258) * 50.0
        return CausalLMOutput(logits=logits)


def test_exact_needs_every_target_token(tiny):
    _, tokenizer = tiny
    prompts, targets = ["axa", "bxb", "cxc"], ["bc", "bxc", "cx"]
    texts = [tokenizer(f"{p} {t}")["input_ids"] for p, t in zip(prompts, targets, strict=True)]
    oracle = Oracle(texts, blind=tokenizer.convert_tokens_to_ids("x"))
    scores = score_targets(oracle, tokenizer, prompts, targets)
    # Blindness in the prompt, or after the last token, costs nothing.
    assert scores.exact.tolist() == [True, False, True]
    assert scores.nll[0] == pytest.approx(0.0, abs=1e-6)
    assert scores.nll[1] == pytest.approx(50.0 / 4, rel=1e-4)


def test_targets_of_one_prompt_share_a_pass_and_do_not_mix(tiny):
    model, tokenizer = tiny
    passes = []
    hook = model.register_forward_pre_hook(
        lambda module, args, kwargs: passes.append(kwargs["input_ids"].shape[0]), with_kwargs=True
    )
    try:
        scores = score_targets(model, tokenizer, ["The", "The", "The"], ["a", "b", "bc"])
    finally:
        hook.remove()
    alone = [score_targets(model, tokenizer, ["The"], [t]).nll.item() for t in ("a", "b", "bc")]
    assert scores.nll.tolist() == pytest.approx(alone, rel=1e-5)
    assert len(set(alone)) == 3
    assert sum(passes) == 2


@pytest.mark.parametrize("budget", [1, 60, 10_000])
def test_batching_and_order_do_not_matter(tiny, budget):
    whole = score_targets(*tiny, PROMPTS, TARGETS)
    order = [2, 0, 3, 1]
    part = score_targets(
        *tiny,
        [PROMPTS[i] for i in order],
        [TARGETS[i] for i in order],
        max_tokens_per_batch=budget,
    )
    torch.testing.assert_close(part.nll, whole.nll[order])
    assert part.exact.tolist() == whole.exact[order].tolist()


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_side_of_the_tokenizer_does_not_matter(tiny, side):
    model, tokenizer = tiny
    wanted = score_targets(model, tokenizer, PROMPTS, TARGETS).nll
    before = tokenizer.padding_side
    tokenizer.padding_side = side
    try:
        torch.testing.assert_close(score_targets(model, tokenizer, PROMPTS, TARGETS).nll, wanted)
    finally:
        tokenizer.padding_side = before


def test_a_space_goes_in_where_none_is(tiny):
    plain = score_targets(*tiny, ["Here is"], ["it"]).nll
    assert torch.equal(score_targets(*tiny, ["Here is"], [" it"]).nll, plain)


def test_white_space_at_a_prompts_end_is_read(tiny):
    """What is scored is what greedy generation from that very prompt would begin with."""
    model, tokenizer = tiny
    for prompt in ("Here is ", "Here is\n"):
        ids = tokenizer(prompt, return_tensors="pt")["input_ids"]
        rest = [i for i in tokenizer("\nit", add_special_tokens=False)["input_ids"]]
        rest = rest[len(tokenizer("\n", add_special_tokens=False)["input_ids"]) :]
        whole = torch.cat([ids, torch.tensor([rest])], dim=1)
        with torch.no_grad():
            log_p = model(input_ids=whole).logits[0].log_softmax(-1)
        wanted = -torch.stack(
            [log_p[ids.shape[1] - 1 + i, token] for i, token in enumerate(rest)]
        ).mean()
        found = score_targets(model, tokenizer, [prompt], ["it"]).nll
        torch.testing.assert_close(found[0], wanted)


def test_training_mode_is_left_as_found(tiny):
    model, tokenizer = tiny
    model.train()
    try:
        score_targets(model, tokenizer, ["A"], ["b"])
        assert model.training
    finally:
        model.eval()


def test_nothing_to_score(tiny):
    scores = score_targets(*tiny, [], [])
    assert scores.nll.shape == scores.exact.shape == (0,)


@pytest.mark.parametrize(("prompts", "targets"), [(["a"], []), (["a"], [" "])])
def test_unusable_input_is_refused(tiny, prompts, targets):
    with pytest.raises(ValueError, match="score_targets"):
        score_targets(*tiny, prompts, targets)


def windowed(model, start, ids, window, stride):
    """Perplexity by the definition: each token once, with the context its window gives."""
    room, total, done, count = window - len(start), 0.0, 0, 0
    while done < len(ids):
        end = min(len(ids), done + stride) if done else min(len(ids), room)
        begin = max(0, end - room)
        row = [*start, *ids[begin:end]]
        with torch.no_grad():
            logs = model(torch.tensor([row])).logits[0].float().log_softmax(-1)
        for place in range(done, end):
            at = place - begin + len(start)
            total -= logs[at - 1, ids[place]].item()
            count += 1
        done = end
    assert count == len(ids)
    return math.exp(total / count)


@pytest.mark.parametrize(("window", "stride"), [(16, 5), (16, 15), (200, 100), (9, 1)])
def test_perplexity_equals_its_definition(tiny, window, stride):
    model, tokenizer = tiny
    text = "A short text, long enough for several windows of this size."
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    start = [tokenizer.bos_token_id if tokenizer.bos_token_id is not None else 1]
    wanted = windowed(model, start, ids, window, stride)
    found = perplexity(model, tokenizer, text, window=window, stride=stride)
    assert found == pytest.approx(wanted, rel=1e-5)


def test_perplexity_refuses_impossible_windows_and_empty_text(tiny):
    with pytest.raises(ValueError, match="stride"):
        perplexity(*tiny, "text", window=8, stride=9)
    with pytest.raises(ValueError, match="no token"):
        perplexity(*tiny, "")


def test_pair_accuracy_compares_whole_sentences(tiny):
    model, tokenizer = tiny
    start = [tokenizer.bos_token_id if tokenizer.bos_token_id is not None else 1]

    def total(text):
        ids = [*start, *tokenizer(text, add_special_tokens=False)["input_ids"]]
        with torch.no_grad():
            logs = model(torch.tensor([ids])).logits[0].float().log_softmax(-1)
        return sum(logs[i - 1, ids[i]].item() for i in range(1, len(ids)))

    left = ["one word", "a cat", "some longer text", "zebra"]
    right = ["two word", "a dog", "any longer text", "panda"]
    wanted = sum(total(a) > total(b) for a, b in zip(left, right, strict=True)) / 4
    assert pair_accuracy(model, tokenizer, left, right) == wanted
    assert pair_accuracy(model, tokenizer, right, left) == 1 - wanted


def test_pair_accuracy_refuses_unequal_lists(tiny):
    with pytest.raises(ValueError, match="pair_accuracy"):
        pair_accuracy(*tiny, ["a"], [])
