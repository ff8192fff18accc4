"""The likelihood rule against one-at-a-time scoring, and everything that must not matter."""

import dataclasses
import math

import pytest
import torch

from revive.errors import SpecError
from revive.models.forward.runner import context_length
from revive.scoring.task_encoding import encode_choices, encode_question
from revive.scoring.task_likelihood import ChoiceScores, best, score_choices
from revive.tasks.item import Item

SHOTS = tuple(f"Question: How many is {n}?\nAnswer: {n}\n\n" for n in range(4))
ITEMS = [
    Item(prompt="Review: a fine film\nAnswer:", choices=(" negative", " positive")),
    Item(prompt="Q: one letter\nAnswer:", choices=(" A", " B", " C", " D")),
    Item(prompt="", choices=("The cat sleeps.", "The cat sleep.")),
    Item(prompt="Bo met Al but ", choices=("Bo", "Al"), ending=" left early."),
    Item(prompt="To rest:", choices=(" lie down for a good while", " run")),
    Item(preamble="Count.\n", shots=SHOTS, prompt="Question: 5?\nAnswer:", choices=(" 5", " 6")),
    Item(prompt="trailing  ", choices=("space",)),
]


def plain(model, tokenizer, item):
    """One text at a time, no batch, no cache, straight from the logits."""
    found = []
    for choice in item.choices:
        before, after = (
            (item.prompt + choice, item.ending) if item.ending else (item.prompt, choice)
        )
        before = item.preamble + "".join(item.shots) + before
        after = before[len(before.rstrip()) :] + after
        before = before.rstrip()
        if before:
            ids = tokenizer(before + after)["input_ids"]
            start = len(tokenizer(before)["input_ids"])
        else:
            ids = [tokenizer.bos_token_id, *tokenizer(after, add_special_tokens=False)["input_ids"]]
            start = 1
        with torch.no_grad():
            logs = model(torch.tensor([ids])).logits[0].float().log_softmax(-1)
        total = sum(logs[place - 1, ids[place]].item() for place in range(start, len(ids)))
        hits = [logs[p - 1].argmax().item() == ids[p] for p in range(start, len(ids))]
        found.append((total, all(hits)))
    return found


@pytest.fixture(params=["longest prompts first", "as they are"])
def order(request):
    numbers = list(range(len(ITEMS)))
    return (
        sorted(numbers, key=lambda i: -len(ITEMS[i].prompt))
        if "first" in request.param
        else numbers
    )


@pytest.mark.parametrize("budget", [1, 90, 10_000])
def test_scores_are_those_of_one_text_at_a_time(tiny, budget, order):
    found = score_choices(*tiny, [ITEMS[i] for i in order], max_tokens_per_batch=budget)
    for index, scores in zip(order, found, strict=True):
        wanted = plain(*tiny, ITEMS[index])
        assert scores.sums == pytest.approx([total for total, _ in wanted], rel=1e-5)
        assert scores.exact == tuple(hit for _, hit in wanted)


@pytest.mark.parametrize("side", ["left", "right"])
def test_the_tokenizers_padding_side_does_not_matter(tiny, side):
    model, tokenizer = tiny
    wanted = score_choices(model, tokenizer, ITEMS)
    before, tokenizer.padding_side = tokenizer.padding_side, side
    try:
        found = score_choices(model, tokenizer, ITEMS)
    finally:
        tokenizer.padding_side = before
    assert found == wanted


def test_single_precision_gives_the_same_answers(tiny):
    model, tokenizer = tiny
    double = score_choices(model, tokenizer, ITEMS)
    single = score_choices(model.float(), tokenizer, ITEMS)
    model.double()
    for item, a, b in zip(ITEMS, double, single, strict=True):
        assert b.sums == pytest.approx(a.sums, rel=1e-4)
        for per_character in (False, True):
            assert best(item, a, per_character=per_character) == best(
                item, b, per_character=per_character
            )


def test_the_training_mode_is_left_as_found(llama):
    model, tokenizer = llama
    model.train()
    score_choices(model, tokenizer, ITEMS[:1])
    assert model.training
    model.eval()


def test_progress_is_told_up_to_the_end(llama):
    seen = []
    score_choices(*llama, ITEMS * 10, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (70, 70)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert len(seen) > 1


def test_by_sum_and_by_character():
    item = Item(prompt="x", choices=(" ab", " abcdefgh"))
    scores = ChoiceScores((-4.0, -8.0), (False, False))
    assert best(item, scores, per_character=False) == 0
    # -2 a character against -1: the space in front does not count.
    assert best(item, scores, per_character=True) == 1


@pytest.mark.parametrize("sums", [(-4.0, -4.0), (math.nan, -1.0), (-math.inf, -math.inf)])
def test_a_model_that_cannot_tell_is_not_right_by_the_order(sums):
    item = Item(prompt="x", choices=(" a", " b"))
    assert best(item, ChoiceScores(sums, (False, False)), per_character=False) is None


def test_examples_give_way_one_by_one_before_the_question_is_cut(llama):
    _, tokenizer = llama
    item = ITEMS[5]
    whole = encode_choices(tokenizer, item, None)
    length = len(whole[0].ids)
    assert encode_choices(tokenizer, item, length - 1) == whole
    shorter = encode_choices(tokenizer, item, length - 2)
    assert tokenizer.decode(shorter[0].ids[1:]).startswith("Count.\nQuestion: How many is 1?")
    for row, full in zip(shorter, whole, strict=True):
        assert row.ids[row.start :] == full.ids[full.start :]
    bare = encode_choices(tokenizer, item, 30)
    assert all(len(row.ids) <= 31 for row in bare)
    assert tokenizer.decode(bare[0].ids).endswith("Question: 5?\nAnswer: 5")
    question = encode_question(tokenizer, item, length - 2, 8)
    assert len(question) <= length - 10
    assert tokenizer.decode(question).endswith("Question: 5?\nAnswer:")


def test_a_text_longer_than_the_model_is_scored_by_its_end(tiny):
    model, tokenizer = tiny
    room = context_length(model) or 0
    text = "word " * 100
    long = Item(prompt=text + "end:", choices=(" yes", " no"))
    found = score_choices(model, tokenizer, [long])[0]
    ids = tokenizer(f"{text}end: yes")["input_ids"][-(room + 1) :]
    with torch.no_grad():
        logs = model(torch.tensor([ids[:-1]])).logits[0].float().log_softmax(-1)
    total = sum(logs[place - 1, ids[place]].item() for place in range(len(ids) - 4, len(ids)))
    assert found.sums[0] == pytest.approx(total, rel=1e-5)


def test_a_choice_without_tokens_is_refused_with_its_place(llama):
    with pytest.raises(SpecError, match=r"a\.jsonl, line 3: choice '  ' has no tokens"):
        score_choices(*llama, [Item(prompt="x", choices=("  ",), where="a.jsonl, line 3")])


def test_items_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        ITEMS[0].answer = 1
