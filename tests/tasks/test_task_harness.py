"""The bridge to lm-evaluation-harness, on local data."""

import json
import os
import random
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from revive.errors import PrerequisiteError, SpecError
from revive.models.loading import load_model
from revive.scoring.harness import Harness
from revive.scoring.task_scorer import score_tasks
from revive.studies.task_ability import TaskAbility
from revive.tasks.collect import collect
from shared import shared

PAIRS = [
    {"sentence_good": f"The {noun}s near the {other} are here.", "sentence_bad": bad}
    for noun, other in (("cat", "dog"), ("boy", "tree"), ("key", "cabinet"), ("car", "house"))
    for bad in (f"The {noun}s near the {other} is here.", f"Are the here {noun}s {other} the near.")
]
PASSAGES = [
    "He asked me twice, and twice I said no",
    'She looked at him. "What do you mean," she said',
    "One two three four five six seven eight nine ten",
    "a a a a a a a a a a a",
    "Once upon a time there was a",
]
CONFIGURATIONS = {
    "own_pairs": """
task: own_pairs
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}/blimp/own.jsonl}}}}
output_type: multiple_choice
test_split: test
doc_to_text: ""
doc_to_target: 0
doc_to_choice: "{{{{[sentence_good, sentence_bad]}}}}"
metric_list: [{{metric: acc, aggregation: mean, higher_is_better: true}}]
metadata: {{version: 1.0}}
""",
    "own_words": """
task: own_words
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}/lambada_test.jsonl}}}}
output_type: loglikelihood
test_split: test
doc_to_text: "{{{{text.split(' ')[:-1]|join(' ')}}}}"
doc_to_target: "{{{{' '+text.split(' ')[-1]}}}}"
metric_list:
  - {{metric: perplexity, aggregation: perplexity, higher_is_better: false}}
  - {{metric: acc, aggregation: mean, higher_is_better: true}}
metadata: {{version: 2.0}}
""",
}
TASKS = tuple(CONFIGURATIONS)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Items in the public formats, and configurations of the harness over the same files."""
    folder = tmp_path_factory.mktemp("harness")
    for name, records in (
        ("blimp/own.jsonl", PAIRS),
        ("lambada_test.jsonl", [{"text": text} for text in PASSAGES]),
    ):
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("".join(json.dumps(record) + "\n" for record in records), "utf-8")
    configure(folder)
    return folder


def configure(folder):
    (folder / "yaml").mkdir()
    for name, text in CONFIGURATIONS.items():
        (folder / "yaml" / f"{name}.yaml").write_text(text.format(data=folder), "utf-8")


@pytest.fixture(scope="module", autouse=True)
def offline(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.setenv("HF_DATASETS_OFFLINE", "1")
        patch.setenv("HF_DATASETS_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def bridged(data, llama):
    """What the bridge finds on a model whose weights were changed in place."""
    model, tokenizer = llama
    weight = model.model.layers[1].mlp.down_proj.weight
    kept = weight.detach().clone()
    harness = Harness(TASKS, include=data / "yaml")
    before = harness.run(model, tokenizer)
    torch.manual_seed(5)
    weight.data += 3 * torch.randn_like(weight)
    yield before, harness.run(model, tokenizer)
    weight.data.copy_(kept)


def by_task(results):
    return {result.task: result for result in results}


def test_the_live_model_is_measured(bridged):
    before, after = map(by_task, bridged)
    assert before["own_pairs"].count == before["own_pairs"].total == len(PAIRS)
    assert (before["own_words"].version, before["own_words"].count) == ("2.0", len(PASSAGES))
    assert before["own_words"].metrics["perplexity"] != after["own_words"].metrics["perplexity"]
    assert 0 < before["own_pairs"].metrics["acc"] < 1
    assert before["own_pairs"].metrics["acc_stderr"] > 0
    assert before["own_words"].upward() == ["lm_eval_own_words_acc"]
    flat = before["own_pairs"].flat()
    assert flat["lm_eval_own_pairs_acc"] == before["own_pairs"].metrics["acc"]


def test_our_own_tasks_say_the_same(bridged, llama, data):
    after = by_task(bridged[1])
    pairs, words = score_tasks(*llama, collect(["blimp", "lambada"], data))
    assert pairs.metrics["accuracy"] == after["own_pairs"].metrics["acc"]
    assert words.metrics["accuracy"] == after["own_words"].metrics["acc"]
    assert words.metrics["perplexity"] == pytest.approx(
        after["own_words"].metrics["perplexity"], rel=1e-5
    )


def test_the_harness_own_command_on_a_saved_copy_says_the_same(bridged, llama, data, tmp_path):
    model, tokenizer = llama
    model.save_pretrained(tmp_path / "saved")
    tokenizer.save_pretrained(tmp_path / "saved")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "lm_eval", "run", "--model", "hf"),
            *("--model_args", f"pretrained={tmp_path / 'saved'},dtype=float32"),
            *("--tasks", ",".join(TASKS), "--include_path", str(data / "yaml")),
            *("--device", "cpu", "--output_path", str(tmp_path / "out")),
        ],
        env={**os.environ, "OMP_NUM_THREADS": "1", "DISABLE_MULTIPROC": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    report = next((tmp_path / "out").rglob("results*.json"))
    theirs = json.loads(report.read_text("utf-8"))["results"]
    for name, result in by_task(bridged[1]).items():
        for metric in result.metrics:
            if "stderr" not in metric:
                assert result.metrics[metric] == pytest.approx(theirs[name][f"{metric},none"])


def test_the_studies_take_what_is_better_when_larger(bridged, llama, data):
    ability = TaskAbility.read(
        ["lm-eval:own_words", "lambada"], data, limit=3, include=data / "yaml"
    )
    found = ability.measure(SimpleNamespace(model=llama[0], tokenizer=llama[1]))
    assert set(found) == {"lm_eval_own_words_acc", "lambada_accuracy"}
    assert found["lm_eval_own_words_acc"] == found["lambada_accuracy"]
    assert "lm-eval:own_words limit 3" in ability.describe()


def test_nothing_around_the_model_changes(llama, data, capfd):
    model, tokenizer = llama
    model.train()
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    expected = (random.random(), np.random.rand(), torch.rand(1).item())
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    weights = {name: p.detach().clone() for name, p in model.named_parameters()}
    before = (tokenizer.padding_side, tokenizer.pad_token, os.environ.get("DISABLE_MULTIPROC"))
    Harness(["own_pairs"], include=data / "yaml", limit=3).run(model, tokenizer)
    assert (random.random(), np.random.rand(), torch.rand(1).item()) == expected
    assert (
        tokenizer.padding_side,
        tokenizer.pad_token,
        os.environ.get("DISABLE_MULTIPROC"),
    ) == before
    assert all(torch.equal(p, weights[name]) for name, p in model.named_parameters())
    assert model.training
    model.eval()
    # What is printed there must not stand between a command's results.
    assert capfd.readouterr().out == ""


def test_an_unknown_task_is_refused_with_a_suggestion(data):
    with pytest.raises(SpecError, match=r"no task 'hellaswga' .*Did you mean 'hellaswag'\?"):
        Harness(["hellaswga"])
    with pytest.raises(SpecError, match="no such folder"):
        Harness(["own_pairs"], include=data / "none")


def test_data_that_cannot_be_had_are_a_missing_prerequisite(llama, data):
    text = CONFIGURATIONS["own_words"].format(data=data / "nowhere")
    (data / "gone").mkdir()
    (data / "gone" / "own_words.yaml").write_text(text, "utf-8")
    with pytest.raises(PrerequisiteError, match="data of own_words cannot be had"):
        Harness(["own_words"], include=data / "gone").run(*llama)


def test_a_real_model_scores_real_items_alike(tmp_path):
    pairs = shared("data", "general", "blimp", "principle_A_c_command.jsonl")
    passages = shared("data", "general", "lambada", "lambada_test.jsonl")
    story = load_model(str(shared("data", "models", "stories260K-hf")), device="cpu")
    (tmp_path / "blimp").mkdir()
    for source, copied in ((pairs, "blimp/own.jsonl"), (passages, "lambada_test.jsonl")):
        some = source.read_text("utf-8").splitlines()[:60]
        (tmp_path / copied).write_text("\n".join(some) + "\n", "utf-8")
    configure(tmp_path)
    theirs = by_task(Harness(TASKS, include=tmp_path / "yaml").run(story.model, story.tokenizer))
    ours = score_tasks(story.model, story.tokenizer, collect(["blimp", "lambada"], tmp_path))
    assert ours[0].count == 60
    assert ours[0].metrics["accuracy"] == theirs["own_pairs"].metrics["acc"]
    assert ours[1].metrics["accuracy"] == theirs["own_words"].metrics["acc"]
    assert ours[1].metrics["perplexity"] == pytest.approx(
        theirs["own_words"].metrics["perplexity"], rel=1e-5
    )
