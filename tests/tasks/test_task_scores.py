"""From files to results, with a model that is known to answer right."""

import random

import pytest
import torch
from transformers.modeling_outputs import CausalLMOutputWithPast

from revive.models.loading import load_model
from revive.scoring.score import pair_accuracy
from revive.scoring.task_scorer import score_tasks
from revive.tasks.collect import collect
from revive.tasks.metrics import wilson
from revive.tasks.result import flat_metrics
from revive.tasks.suites import SIX
from shared import shared

VOCABULARY = 259


class Reader(torch.nn.Module):
    """Answers by the words of the question: knows `rules`, (word in the text, answer).

    Its cache is the text so far.
    """

    def __init__(self, tokenizer, rules, ending="\n"):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.symbols = {i: tokenizer.decode([i]) for i in range(VOCABULARY)}
        self.token = {symbol: i for i, symbol in self.symbols.items()}
        self.rules = rules
        self.ending = ending

    def forward(self, input_ids, attention_mask, use_cache, past_key_values=None):
        ids = input_ids if past_key_values is None else torch.cat([past_key_values, input_ids], 1)
        new = input_ids.shape[1]
        logits = torch.zeros(*input_ids.shape, VOCABULARY)
        for row, tokens in enumerate(ids.tolist()):
            shown = attention_mask[row].tolist()
            parts = [self.symbols[t] if m else "" for t, m in zip(tokens, shown, strict=True)]
            for place in range(new):
                text = "".join(parts[: len(parts) - new + place + 1])
                following = self._following(text)
                if following:
                    logits[row, place, self.token[following]] = 30.0
        return CausalLMOutputWithPast(logits=logits, past_key_values=ids if use_cache else None)

    def _following(self, text):
        asked, found, said = text.rpartition("Answer:")
        if not found:
            return None
        answer = next((a for word, a in self.rules if word in asked), None)
        whole = f" {answer}{self.ending}"
        return whole[len(said)] if answer and whole.startswith(said) and said != whole else None


def reviews(count, seed=0):
    rng = random.Random(seed)
    labels = [rng.randrange(2) for _ in range(count)]
    return [
        {"sentence": f"a {('bad', 'good')[y]} film {n}", "label": y} for n, y in enumerate(labels)
    ]


SENTIMENT = (("good", "positive"), ("bad", "negative"))


def scored(model, tokenizer, path, name, **options):
    return score_tasks(model, tokenizer, collect([name], path, **options))


def test_a_model_that_knows_is_right_by_both_rules(writer, lines):
    path = lines("sst2.jsonl", *reviews(40))
    results = scored(Reader(writer, SENTIMENT), writer, path, "sst2", both=True)
    assert [result.rule for result in results] == ["likelihood", "generation"]
    for result in results:
        assert (result.count, result.total) == (40, 40)
        for metric in ("accuracy", "f1_weighted", "f1_macro"):
            assert result.metrics[metric] == 1.0
        assert result.intervals["accuracy"] == wilson(40, 40)
        assert result.baselines["chance"] == 0.5
        assert result.version == 1
    assert results[1].metrics["readable"] == 1.0


def test_shuffled_labels_are_caught(writer, lines):
    records = reviews(60)
    labels = [record["label"] for record in records]
    random.Random(1).shuffle(labels)
    broken = [{**record, "label": y} for record, y in zip(records, labels, strict=True)]
    model = Reader(writer, SENTIMENT)
    right, wrong = (
        scored(model, writer, lines(f"{n}.jsonl", *rows), "sst2", both=True)
        for n, rows in enumerate((records, broken))
    )
    for good, bad in zip(right, wrong, strict=True):
        assert good.metrics["accuracy"] == 1.0
        assert 0.3 < bad.metrics["accuracy"] < 0.7
        assert bad.intervals["accuracy"][0] < 0.5 < bad.intervals["accuracy"][1]
        assert good.items != bad.items


def test_a_constant_answer_scores_the_majority_baseline(writer, lines):
    records = [{"sentence": f"film {n}", "label": int(n % 4 == 0)} for n in range(24)]
    model = Reader(writer, (("film", "negative"),))
    for result in scored(model, writer, lines("s.jsonl", *records), "sst2", both=True):
        base = result.baselines
        assert result.metrics["accuracy"] == base["majority"] == 0.75
        assert (
            result.metrics["f1_weighted"] == base["majority_f1_weighted"] == pytest.approx(9 / 14)
        )
        assert result.metrics["f1_macro"] == base["majority_f1_macro"] == pytest.approx(3 / 7)


def test_unreadable_text_is_wrong_and_told(writer, lines):
    model = Reader(writer, (("good", "positive"), ("bad", "who knows")))
    records = [{"sentence": s, "label": y} for s, y in (("good", 1), ("bad", 0), ("good", 0))]
    result = scored(model, writer, lines("s.jsonl", *records), "sst2", rule="generation")[0]
    assert result.metrics["readable"] == pytest.approx(2 / 3)
    assert result.metrics["accuracy"] == pytest.approx(1 / 3)
    # class 0: 0; class 1: 2 * 1 / (1 + 2) = 2/3
    assert result.metrics["f1_macro"] == pytest.approx(1 / 3)


def test_numbers_are_matched_as_numbers(writer, lines):
    asked = ("apples", "cars", "dogs")
    rules = (
        ("How many dogs", "It is 12 or 13. The answer is 14."),
        ("How many cars", "The answer is 1,200.0"),
        ("How many apples", "3 + 4 = 7"),
    )
    records = [
        {"question": f"How many {what}?", "answer": answer}
        for what, answer in zip(asked, ("so 7\n#### 7", "#### 1200", "#### 12"), strict=True)
    ]
    result = scored(Reader(writer, rules), writer, lines("gsm8k.jsonl", *records), "gsm8k")[0]
    assert result.rule == "generation"
    assert result.metrics == {"accuracy": pytest.approx(2 / 3), "readable": 1.0}
    assert result.baselines == {"chance": 0.0, "majority": 0.0}


def test_groups_baselines_and_names(writer, lines):
    pair = {"sentence_good": "Answer: yes", "sentence_bad": "Answer: no."}
    turned = {"sentence_good": pair["sentence_bad"], "sentence_bad": pair["sentence_good"]}
    lines("blimp/easy.jsonl", pair, pair)
    folder = lines("blimp/hard.jsonl", turned, turned, turned, pair).parent
    result = scored(Reader(writer, (("", "yes"),)), writer, folder, "blimp")[0]
    assert result.groups == {"easy": 1.0, "hard": 0.25}
    assert result.metrics["accuracy"] == pytest.approx(0.5)
    assert result.metrics["group_mean"] == pytest.approx(0.625)
    # The right sentence always stands first: its place tells nothing, so guessing is the baseline.
    assert result.baselines == {"chance": 0.5, "majority": 0.5}
    assert result.flat()["blimp_accuracy"] == pytest.approx(0.5)
    assert "f1_weighted" not in result.metrics


def test_the_mean_of_the_six_needs_all_six(writer, lines, tmp_path):
    two = {"sentence1": "a", "sentence2": "b", "label": 0}
    for name in ("sst2", "cola"):
        lines(f"{name}.jsonl", {"sentence": "a", "label": 0}, {"sentence": "b", "label": 1})
    for name in ("mrpc", "rte"):
        lines(f"{name}.jsonl", two, {**two, "label": 1})
    lines("nli.jsonl", {**two, "label": "entailment"})
    asked = {"question": "q", "subject": "s", "choices": list("abcd"), "answer": 0}
    lines("mmlu.jsonl", asked, {**asked, "answer": 3})
    model = Reader(writer, (("", "no"),))
    results = score_tasks(model, writer, collect(["six"], tmp_path))
    metrics = flat_metrics(results)
    mean = sum(metrics[f"{name}_f1_weighted"] for name in SIX) / 6
    assert metrics["six_f1_weighted"] == pytest.approx(mean)
    assert 0 < mean < 1
    assert "six_f1_weighted" not in flat_metrics(results[1:])


@pytest.fixture(scope="module")
def lab():
    return load_model("lab", device="cpu")


def test_the_lab_model_knows_grammar_and_the_pairs_are_scored_as_before(lab):
    folder = shared("data", "general", "blimp")
    path = folder / "anaphor_number_agreement.jsonl"
    prepared = collect(["blimp"], path, limit=60)
    result = score_tasks(lab.model, lab.tokenizer, prepared)[0]
    good, bad = zip(*(item.choices for item in prepared[0].items), strict=True)
    assert result.metrics["accuracy"] == pair_accuracy(lab.model, lab.tokenizer, good, bad)
    assert result.intervals["accuracy"][0] > 0.5


def test_a_real_pretrained_model_prefers_a_story_to_its_shuffle(lines):
    folder = shared("data", "models", "stories260K-hf")
    story = load_model(str(folder), device="cpu")
    stories = (
        "Once upon a time there was a little girl named Lily.",
        "One day, Tim went to the park with his mom.",
        "The cat was very happy and said thank you.",
        "They played together all day and had a lot of fun.",
    )
    rng = random.Random(0)
    pairs = []
    for text in stories:
        words = text.split()
        rng.shuffle(words)
        pairs.append({"sentence_good": text, "sentence_bad": " ".join(words)})
    path = lines("blimp/story.jsonl", *pairs).parent
    result = score_tasks(story.model, story.tokenizer, collect(["blimp"], path))[0]
    assert result.metrics["accuracy"] == 1.0
    passage = {"text": "Once upon a time, there was a little girl named Lily. She loved to play"}
    hard = {"text": "The committee adopted a resolution on the tariff schedule of zinc"}
    word = score_tasks(
        story.model,
        story.tokenizer,
        collect(["lambada"], lines("lambada_test.jsonl", passage, hard)),
    )[0]
    assert word.metrics["accuracy"] == 0.5
    assert word.metrics["perplexity"] > 5
