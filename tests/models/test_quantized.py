"""A base in 8 or 4 bits: what stays whole, right gradients, and what is exported of its runs."""

import importlib.util

import pytest
import torch
from tiny import byte_tokenizer, tiny_model

from revive import PrerequisiteError, SpecError, load_model
from revive.models.forward.runner import BlockRunner, positions_of
from revive.models.quantized import quantization

pytest.importorskip("bitsandbytes")
EDITED = [0, 1]
FORMS = pytest.mark.parametrize("form", ["8bit", "4bit"])


def folder_of(name, folder, dtype=torch.float32):
    tiny_model(name, dtype=dtype).save_pretrained(folder)
    byte_tokenizer(bos=True).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    made = tmp_path_factory.mktemp("bases")
    return {name: folder_of(name, made / name) for name in ("llama", "gpt2", "falcon")}


@FORMS
@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_only_the_base_is_quantised(bases, name, form):
    whole = load_model(bases[name], device="cpu")
    small = load_model(bases[name], device="cpu", quantize=form, edited=EDITED)
    own = dict(whole.model.named_parameters())
    kept = [s.parameter for s in small.family.sites(small.model, layers=EDITED)]
    head = small.model.get_output_embeddings().weight
    assert torch.equal(head, whole.model.get_output_embeddings().weight)
    for key in kept:
        assert torch.equal(small.model.get_parameter(key), own[key])
    rounded = {n for n, p in small.model.named_parameters() if not p.is_floating_point()}
    matrices = {n for n, p in own.items() if p.ndim == 2 and (".layers." in n or ".h." in n)}
    assert rounded == matrices - set(kept)
    assert small.fingerprint == whole.fingerprint
    assert small.forward_fingerprint != whole.forward_fingerprint
    with pytest.raises(SpecError, match="stored quantised"):
        small.family.site(small.model, 2)


@FORMS
def test_gradients_of_hidden_states_are_those_of_the_dequantised_weights(bases, form):
    small = load_model(bases["llama"], device="cpu", quantize=form, edited=EDITED)
    same = load_model(bases["llama"], device="cpu", quantize=form, edited=EDITED)
    plain = same.model.dequantize()
    whole = load_model(bases["llama"], device="cpu").model
    mask = torch.ones(2, 6, dtype=torch.long)
    start = torch.randn(2, 6, 32, generator=torch.Generator().manual_seed(0))

    def gradient(model):
        run = BlockRunner(model, small.family)
        hidden = start.clone().requires_grad_(True)
        out = run.run(hidden, 1, run.depth, mask, positions_of(mask))
        logits = small.family.logits(model, out[:, -1])
        (found,) = torch.autograd.grad(logits.log_softmax(-1)[:, 7].sum(), hidden)
        return found

    wanted = gradient(plain)

    # A forward without gradients comes before those with them, and must leave the weights as they
    # are: see `keep_differentiable`.
    with torch.no_grad():
        small.model(input_ids=torch.ones(1, 4, dtype=torch.long))

    def error(found):
        return float((found - wanted).norm() / wanted.norm())

    # In 8 bits the forward rounds activations too, to one part in 127 of the largest.
    tolerance = {"4bit": 1e-5, "8bit": 0.05}[form]
    assert error(gradient(small.model)) < tolerance
    assert error(-gradient(small.model)) > 1
    if form == "4bit":
        assert error(gradient(whole)) > 100 * tolerance, "the test must see the quantisation"


def test_what_cannot_be_quantised_is_refused(bases, monkeypatch):
    with pytest.raises(SpecError, match="finds nothing to quantise in FalconForCausalLM"):
        load_model(bases["falcon"], device="cpu", quantize="4bit", edited=[1])
    with pytest.raises(SpecError, match="float32, bfloat16 or float16"):
        load_model(bases["llama"], dtype="float64", quantize="4bit")
    with pytest.raises(SpecError, match="use 8bit or 4bit"):
        load_model(bases["llama"], quantize="3bit")
    monkeypatch.setattr("revive.models.quantized.find_spec", lambda name: None)
    with pytest.raises(PrerequisiteError, match=r"pip install 'revive-edit\[quantize\]'"):
        quantization("8bit", bases["llama"], torch.float32, EDITED)
    assert importlib.util.find_spec("bitsandbytes") is not None
