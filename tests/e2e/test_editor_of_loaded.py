"""`revive.Editor` of a model that is loaded already, in whatever it is wrapped."""

import pytest
import torch
from e2e_runs import equal_tensors, logits_elsewhere, logits_here, short_editor, write_edits
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer

import revive

SETTINGS = {k: v for k, v in short_editor().items() if k != "name"}

PROMPT = "The home of Ann is"


@pytest.fixture(scope="module")
def edits(tmp_path_factory):
    path = write_edits(tmp_path_factory.mktemp("edits") / "edits.jsonl", 4)
    return revive.load_edits(str(path)).edits


@pytest.fixture
def held(tiny_folder):
    model = AutoModelForCausalLM.from_pretrained(tiny_folder, dtype=torch.float32)
    return model, AutoTokenizer.from_pretrained(tiny_folder)


def lora(model, *targets):
    torch.manual_seed(0)
    config = LoraConfig(
        task_type="CAUSAL_LM", r=2, target_modules=list(targets), init_lora_weights=False
    )
    return get_peft_model(model, config)


def editor_of(model, tokenizer, corpus):
    guard = revive.Revive(energy=0.2)
    return revive.Editor(model, tokenizer, text=str(corpus), guard=guard, batch_size=2, **SETTINGS)


@pytest.mark.parametrize("wrap", [lambda m: m, torch.compile, nn.DataParallel])
def test_a_held_model_is_edited_in_place_as_a_loaded_one_is(held, tiny_folder, corpus, edits, wrap):
    model, tokenizer = held
    model.train()
    editor = editor_of(wrap(model), tokenizer, corpus)
    assert editor.model is model
    assert not model.training
    assert editor.model.dtype == torch.float32
    results = editor.edit(edits)
    loaded = revive.load_model(str(tiny_folder), device="cpu")
    same = editor_of(loaded, None, corpus).edit(edits)
    for ours, theirs in zip(results, same, strict=True):
        # Other attention kernels, the same update.
        for key, value in ours.tensors().items():
            torch.testing.assert_close(value, theirs.tensors()[key], rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("targets", [("down_proj",), ("q_proj", "up_proj")])
@pytest.mark.parametrize("method", ["memit-seq", "ft"])
def test_a_model_with_an_adapter_is_edited_with_it_undone_and_saved_merged(
    held, corpus, edits, tmp_path, targets, method
):
    model, tokenizer = held
    wrapped = lora(model, *targets)
    short = SETTINGS if method == "memit-seq" else {"layers": [1], "steps": 2}
    guard = revive.Revive(energy=0.2)
    editor = revive.Editor(
        wrapped, tokenizer, method=method, text=str(corpus), guard=guard, batch_size=2, **short
    )
    before = {k: v.clone() for k, v in wrapped.state_dict().items()}
    untouched = logits_here(editor, PROMPT)
    editor.edit(edits)
    edited = logits_here(editor, PROMPT)
    assert not torch.equal(edited, untouched)
    assert set(editor.evaluate())
    state = {k: v.clone() for k, v in wrapped.state_dict().items()}
    editor.save_pretrained(tmp_path / "out")
    # Saving leaves what is held as it is, bit for bit, and the folder loads in stock transformers.
    assert equal_tensors(dict(wrapped.state_dict()), state)
    elsewhere = logits_elsewhere(tmp_path / "out", [PROMPT])[PROMPT]
    torch.testing.assert_close(elsewhere, edited, rtol=1e-3, atol=1e-3)
    editor.rollback(steps=2)
    assert equal_tensors(dict(wrapped.state_dict()), before)


def test_what_is_no_model_or_no_tokenizer_is_told(held, tiny_folder):
    model, tokenizer = held
    with pytest.raises(revive.SpecError, match=r"write revive\.Editor\.from_pretrained"):
        revive.Editor("gpt2", tokenizer)
    with pytest.raises(revive.SpecError, match="tokenizer: is missing"):
        revive.Editor(model)
    with pytest.raises(revive.SpecError, match="is not a fast one"):
        revive.Editor(model, object())
    with pytest.raises(revive.SpecError, match="Linear is no causal model"):
        revive.Editor(nn.Linear(2, 2), tokenizer)
    with pytest.raises(revive.SpecError, match="no language-model head"):
        revive.Editor(model.model, tokenizer)
    with pytest.raises(revive.SpecError, match="leave out the other"):
        revive.Editor(revive.load_model(str(tiny_folder), device="cpu"), tokenizer)
    model.add_adapter(LoraConfig(r=2, target_modules=["down_proj"]))
    with pytest.raises(revive.SpecError, match=r"peft\.PeftModel\.from_pretrained"):
        revive.Editor(model, tokenizer)
