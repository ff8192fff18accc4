"""Generated texts: the same however they are batched, and scored as defined."""

import random
from dataclasses import replace

import pytest
import torch
from lab_edits import shuffled, taken

from revive.data.edits import MultiHop
from revive.models.loading import load_model
from revive.probes.generate import generate
from revive.probes.generation import GenerationSettings, score_generation
from revive.probes.text_metrics import TfIdf, begins_with, fluency, is_answer, repetition
from revive.probes.words import sentences, words

SHORT = GenerationSettings(length=20, prompts=1)


@pytest.fixture(scope="module")
def lab():
    return load_model("lab", device="cpu")


@pytest.fixture(scope="module")
def edits():
    return taken(6)


def texts(lab, prompts, **settings):
    return [g.text for g in generate(lab.model, lab.tokenizer, prompts, **settings)]


PROMPTS = ["The", "A long story begins where", "In the town of", "She", "The"]


def test_greedy_texts_are_the_models_own(lab):
    """One prompt at a time, the whole text through the model for every token, no cache."""
    for prompt, made in zip(PROMPTS, texts(lab, PROMPTS, new_tokens=8), strict=True):
        ids = lab.tokenizer(prompt)["input_ids"]
        for _ in range(8):
            with torch.no_grad():
                ids.append(int(lab.model(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
        assert made == lab.tokenizer.decode(ids, skip_special_tokens=True)


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("top_k", [1, 5])
def test_batches_and_order_do_not_matter(lab, top_k, rows):
    wanted = texts(lab, PROMPTS, length=12, top_k=top_k, rows=5)
    assert texts(lab, PROMPTS, length=12, top_k=top_k, rows=rows) == wanted
    order = [3, 1, 0, 2, 4]
    mixed = texts(lab, [PROMPTS[i] for i in order], length=12, top_k=top_k, rows=rows)
    assert mixed == [wanted[i] for i in order]


def test_draws_come_from_the_seed_and_leave_global_randomness_alone(lab):
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    first = texts(lab, PROMPTS, length=20, top_k=5)
    assert torch.equal(torch.rand(1), expected)
    assert first[0] != first[4], "a prompt that is asked twice is drawn twice"
    assert texts(lab, PROMPTS, length=20, top_k=5, seed=1) != first
    assert texts(lab, PROMPTS, length=20, top_k=1)[0] == texts(lab, PROMPTS, length=20)[4]


def test_length_counts_the_prompt_and_a_long_prompt_is_left_as_it_is(lab):
    long = "one two three four five six seven eight nine ten"
    assert texts(lab, [long], length=3)[0].strip() == long
    made = texts(lab, ["The"], length=12)[0]
    whole = lab.tokenizer("The")["input_ids"]
    assert len(lab.tokenizer(made)["input_ids"]) <= 12
    assert len(whole) < 12
    with pytest.raises(ValueError, match="one of them"):
        generate(lab.model, lab.tokenizer, ["x"])


def measured(lab, edits, **settings):
    return score_generation(lab.model, lab.tokenizer, edits, SHORT, **settings).metrics()


def test_generated_answers_are_right_where_the_model_knows_and_wrong_where_labels_are_mixed(
    lab, edits
):
    asked = [
        replace(e, multi_hop=(MultiHop(("Nobody knows", e.text), ("zzz", e.target_new)),))
        for e in edits
    ]
    right = measured(lab, asked)
    assert right["efficacy_generated"] > 0.8
    assert right["efficacy_generated"] >= right["efficacy_whole"]
    assert right["neighborhood_generated"] > 0.7
    assert right["multi_hop_generated"] == right["efficacy_generated"]
    new = shuffled([e.target_new for e in edits])
    wrong = [replace(e, target_new=t) for e, t in zip(edits, new, strict=True)]
    assert measured(lab, wrong)["efficacy_generated"] < right["efficacy_generated"] - 0.4
    again = measured(lab, random.Random(2).sample(asked, len(asked)))
    assert again == pytest.approx(right, abs=1e-9)


def test_the_end_of_a_turn_that_a_target_asks_for_is_no_word_of_it(lab, edits):
    end = lab.tokenizer.eos_token
    marked = [replace(e, target_new=f"{e.target_new}{end}") for e in edits]
    for name in ("efficacy_generated", "paraphrase_generated"):
        assert measured(lab, marked)[name] == measured(lab, edits)[name] > 0


def test_a_model_that_repeats_itself_is_less_fluent(lab, edits):
    good = measured(lab, edits[:3])
    assert good["degenerate"] == 0
    head = lab.model.get_output_embeddings()
    token = lab.tokenizer("the", add_special_tokens=False)["input_ids"][0]
    hook = head.register_forward_hook(
        lambda _m, _a, out: out.index_fill(-1, torch.tensor([token]), 1e4)
    )
    try:
        bad = measured(lab, edits[:3])
    finally:
        hook.remove()
    # The prompt is half of these short texts, and is as it was.
    assert bad["fluency"] < 0.7 * good["fluency"]
    assert bad["repetition"] > 0.4 > good["repetition"]
    assert bad["efficacy_generated"] == 0


def test_consistency_needs_references_and_follows_them(lab, edits):
    edit = replace(edits[0], paraphrases=(), neighborhood=())
    assert "consistency" not in measured(lab, [edit])
    prompt = edit.text
    own = texts(lab, [prompt], length=20, top_k=5)[0]
    near = replace(edit, references=(own,))
    far = replace(edit, references=("zebras graze on mountains",))
    corpus = ("zebras graze on mountains", own, "something else altogether")
    assert measured(lab, [near], corpus=corpus)["consistency"] == pytest.approx(100)
    assert measured(lab, [far], corpus=corpus)["consistency"] == 0


def test_repetition_counts_grams_seen_before():
    assert repetition("one two three") == 0
    assert repetition("a b c d a b c d") == pytest.approx(1 / 5)
    assert repetition("go " * 20) == pytest.approx(1 - 1 / 17)
    assert fluency("go " * 20) == 0


@pytest.mark.parametrize(
    ("text", "begins", "whole"),
    [
        (" Rome.", True, True),
        (" rome, the capital", True, False),
        (" Romeo", False, False),
        (" the Rome", True, True),
        ("\nRome is old", True, False),
        (" Old Rome", False, False),
        ("", False, False),
        (" New York City. And", True, False),
        (" New York\nQ:", True, True),
    ],
)
def test_what_counts_as_an_answer(text, begins, whole):
    assert begins_with(text, ("Rome", "New York")) is begins
    assert is_answer(text, ("Rome", "New York")) is whole


@pytest.mark.parametrize(
    ("text", "begins", "whole"),
    [
        ("纽约。", True, True),
        (" 纽约", True, True),
        ("纽约市", True, False),
        ("纽约，美国最大的城市", True, False),
        ("在纽约", False, False),
        ("กรุงเทพมหานคร", True, False),
        ("กรุงธน", False, False),
    ],
)
def test_scripts_without_spaces_have_answers_too(text, begins, whole):
    assert begins_with(text, ("纽约", "กรุงเทพ")) is begins
    assert is_answer(text, ("纽约", "กรุงเทพ")) is whole


def test_words_follow_the_treebank():
    assert words("He said: \"I can't, won't and cannot!\" (1,000 times...)") == [
        *("He", "said", ":", "``", "I", "ca", "n't", ",", "wo", "n't", "and", "can", "not", "!"),
        *("''", "(", "1,000", "times", "...", ")"),
    ]
    assert sentences("J. R. Smith came. He saw 3. then left? Yes!") == [
        *("J. R. Smith came.", "He saw 3. then left?", "Yes!"),
    ]
    assert words("") == []


def test_similarity_of_nothing_in_common_is_zero():
    weights = TfIdf.fit(["one two", "two three"])
    assert weights.similarity("one", "three") == 0
    assert weights.similarity("one", "unknown words") == 0
    assert weights.similarity("two one", "One, two!") == pytest.approx(1)
