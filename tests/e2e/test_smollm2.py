"""A real language model by its name: fetched, checked, edited, and read by stock transformers."""

import json

import pytest
import torch
from e2e_runs import revive
from transformers import AutoModelForCausalLM, AutoTokenizer

from named_model import linked
from shared import ROOT

FACTS = ROOT / "examples" / "facts.jsonl"


@pytest.fixture(scope="module")
def at_hand(smollm2, tmp_path_factory):
    """The model's name works, from a cache that has nothing else in it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(linked(smollm2, tmp_path_factory.mktemp("own"))))
        yield smollm2


def test_fetch_says_whose_it_is_and_what_it_lost(at_hand):
    done = revive("fetch", "smollm2")
    assert done.stdout.strip().endswith(at_hand.name)
    for part in ("HuggingFaceTB/SmolLM2-135M-Instruct", "apache-2.0", "4-bit", "dequantised"):
        assert part in done.stderr
        assert part in (at_hand / "README.md").read_text("utf-8")


def test_it_knows_the_world_and_splits_digits_as_it_was_trained_to(at_hand):
    tokenizer = AutoTokenizer.from_pretrained(at_hand)
    assert tokenizer.tokenize("in 1998") == ["in", "Ġ", "1", "9", "9", "8"]
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id) == (1, 2)
    ids = tokenizer("The capital of France is", return_tensors="pt")
    model = AutoModelForCausalLM.from_pretrained(at_hand)
    assert model.dtype == torch.float32
    said = tokenizer.decode(model.generate(**ids, max_new_tokens=1, do_sample=False)[0])
    assert said == "The capital of France is Paris"


def test_doctor_finds_nothing_wrong(at_hand):
    found = json.loads(revive("doctor", "smollm2", "--json").stdout)
    assert found["verdict"] == "can be edited"
    assert {f["verdict"] for f in found["findings"]} == {"ok"}


def test_its_edits_are_in_what_stock_transformers_loads(at_hand, tmp_path):
    out = tmp_path / "edited"
    steps = ("--set", "editor.contexts=1", "--set", "editor.context_length=3")
    settings = ("--set", "editor.lr=0.5", "--set", "editor.ridge=100", "--set", "probes=[]")
    given = ("--out", out, "--text", ROOT / "examples" / "corpus.txt", "--quiet")
    revive("edit", "smollm2", FACTS, *given, *steps, *settings)
    tokenizer = AutoTokenizer.from_pretrained(out)
    before = AutoModelForCausalLM.from_pretrained(at_hand)
    after = AutoModelForCausalLM.from_pretrained(out)
    facts = [json.loads(line) for line in FACTS.read_text("utf-8").splitlines()]
    for fact in facts:
        prompt = fact["prompt"].replace("{}", fact["subject"])
        ids = tokenizer(prompt, return_tensors="pt")["input_ids"]
        target = tokenizer(" " + fact["target_new"])["input_ids"][0]
        with torch.no_grad():
            gain = [
                float(model(input_ids=ids).logits[0, -1].log_softmax(-1)[target])
                for model in (before, after)
            ]
        assert gain[1] > gain[0] + 1, fact["id"]
    card = (out / "README.md").read_text("utf-8")
    assert "license: apache-2.0" in card
    assert "base_model: HuggingFaceTB/SmolLM2-135M-Instruct" in card
    assert "The base is a 4-bit file (GGUF Q4_1), dequantised." in card
    env = json.loads((tmp_path / "edited.run" / "env.json").read_text("utf-8"))
    assert env["model_stored_as"] == "4-bit file (GGUF Q4_1), dequantised"
