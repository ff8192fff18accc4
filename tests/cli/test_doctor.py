"""`revive doctor`: what is sound passes, what is broken on purpose is found."""

import dataclasses
import json
import shutil
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import BUILDERS, MIXTURES, byte_tokenizer, tiny_model
from tokenizers import processors

from revive.doctor.checks import examine
from revive.models.experts import gated_hidden
from revive.models.family import family_for
from revive.models.loading import LoadedModel


def loaded(name, *, dtype=torch.float32, tokenizer=None):
    model = tiny_model(name, dtype=dtype)
    family = family_for((type(model).__name__,))
    return LoadedModel(name, model, tokenizer or byte_tokenizer(bos=True), family, "")


def verdicts(found):
    return {f.check: f.verdict for f in found}


@pytest.mark.parametrize("name", sorted(BUILDERS | MIXTURES))
def test_every_family_is_sound(name):
    subject = loaded(name)
    before = {k: v.clone() for k, v in subject.model.state_dict().items()}
    found = list(examine(subject, [0, 1]))
    assert set(verdicts(found).values()) == {"ok"}, found
    assert all(torch.equal(v, before[k]) for k, v in subject.model.state_dict().items())


def test_a_wrong_orientation_is_found():
    subject = loaded("gpt2")
    wrong = LoadedModel("wrong", subject.model, subject.tokenizer, _turned(subject.family), "")
    subject.model.transformer.h[0].mlp.c_proj.weight  # [48, 32], so turned it does not fit
    assert verdicts(examine(wrong, [0]))["orientation"] == "failed"


def test_keys_that_experts_do_not_receive_are_found():
    """A family that knew an expert's activation wrongly: the module's output tells."""
    subject = loaded("mixtral")
    experts = dataclasses.replace(
        subject.family.experts, hidden=lambda m, x, e: 2 * gated_hidden(m, x, e)
    )
    family = dataclasses.replace(subject.family, experts=experts)
    wrong = LoadedModel("wrong", subject.model, subject.tokenizer, family, "")
    assert verdicts(examine(wrong, [0]))["orientation"] == "failed"


def test_a_scaled_head_that_the_family_does_not_know_is_found():
    """Command R scales its logits; a family that forgot it would solve for another loss."""
    subject = loaded("cohere")
    subject.model.logit_scale = 3.0
    forgot = family_for(("LlamaForCausalLM",))
    found = verdicts(examine(LoadedModel("x", subject.model, subject.tokenizer, forgot, ""), [0]))
    assert found["slices"] == "failed"
    assert found["target loss"] == "failed"
    assert found["orientation"] == "ok"


@pytest.mark.parametrize("name", ["gemma2", "olmo2", "glm4", "granite"])
def test_a_norm_or_scale_that_the_family_does_not_know_is_found(name):
    """A family that takes the MLP's output for what the stream receives would edit past it."""
    subject = loaded(name)
    forgot = replace(subject.family, entry=None)
    found = verdicts(examine(replace(subject, family=forgot), [0, 1]))
    assert found["residual"] == "failed"
    assert found["orientation"] == found["slices"] == found["target loss"] == "ok"


def test_bos_twice_is_found():
    tokenizer = byte_tokenizer()
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> <s> $A", special_tokens=[("<s>", 0)]
    )
    found = list(examine(loaded("llama", tokenizer=tokenizer), [0]))
    assert verdicts(found)["tokenizer"] == "failed"


def test_a_leak_of_half_precision_is_measured():
    fine, coarse = (
        next(f for f in examine(loaded("llama", dtype=d), [0]) if f.check == "dtype leak")
        for d in (torch.float32, torch.bfloat16)
    )
    assert "e-1" in fine.text  # rounding of fp32: far below 1e-9
    assert "bfloat16" in coarse.text
    assert float(coarse.text.split(", ")[1].split()[0]) > 1e-6


def test_the_command_and_its_exit_code(revive, model, tmp_path):
    ran = revive("doctor", model, "--no-trial", "--quiet")
    assert ran.code == 0
    assert "orientation" in ran.out
    spoilt = shutil.copytree(model, tmp_path / "spoilt")
    weights = load_file(spoilt / "model.safetensors")
    weights["model.norm.weight"][3] = float("nan")
    save_file(weights, spoilt / "model.safetensors", metadata={"format": "pt"})
    ran = revive("doctor", spoilt, "--json")
    assert ran.code == 2
    told = json.loads(ran.out)
    assert told["verdict"] == "cannot be edited safely"
    failed = {f["check"] for f in told["findings"] if f["verdict"] == "failed"}
    assert "weights" in failed
    revive("doctor", model, "--layers", "9", "--quiet").refused(2, "block 9 does not exist")


def _turned(family):
    return dataclasses.replace(family, transposed=not family.transposed)
