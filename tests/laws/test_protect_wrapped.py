"""The guard on models that other libraries have wrapped: DDP, `torch.compile`, PEFT."""

import pytest
import torch
from peft import LoraConfig, get_peft_model
from tiny import tiny_model
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from transformers import Trainer, TrainingArguments

from revive.errors import SpecError
from revive.guards import Revive


@pytest.fixture
def one_process(tmp_path):
    store = torch.distributed.FileStore(str(tmp_path / "store"), 1)
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


def lora(model, *targets, **settings):
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=2,
        target_modules=list(targets),
        init_lora_weights=False,
        fan_in_fan_out="c_proj" in targets,
        **settings,
    )
    return get_peft_model(model, config)


WRAPPED = {
    "compile": torch.compile,
    "DDP": DistributedDataParallel,
    "DDP of compile": lambda m: DistributedDataParallel(torch.compile(m)),
    "DataParallel": nn.DataParallel,
    "PEFT": lambda m: lora(m, "down_proj"),
    "PEFT beside it": lambda m: lora(m, "q_proj"),
    "compile of PEFT": lambda m: torch.compile(lora(m, "down_proj")),
}


def leak(guard, before, model):
    """Largest touch of a protected direction by the change, over the norm of the change."""
    found = 0.0
    for key in guard.keys:
        basis = guard.basis(key)
        change = guard.canonical(key, (model.get_parameter(key) - before[key]).double()).detach()
        found = max(found, float((basis.u.T @ change).norm() / change.norm()))
    return found


def weights(model, keys):
    return {key: model.get_parameter(key).detach().clone() for key in keys}


@pytest.mark.parametrize("wrap", WRAPPED.values(), ids=WRAPPED)
def test_a_wrapped_model_is_guarded_under_its_plain_names(wrap, one_process):
    model = tiny_model("llama")
    plain = Revive(energy=0.3).fit(model)
    wrapped = wrap(model)
    guard = Revive(energy=0.3).fit(wrapped)
    assert guard.keys == plain.keys
    for key in guard.keys:
        torch.testing.assert_close(guard.basis(key).u, plain.basis(key).u, rtol=0, atol=0)
    before = weights(model, guard.keys)
    with guard.protect():
        disturb(model, guard.keys)
    assert 0 < leak(guard, before, model) < 1e-5
    # Fitted before it was wrapped, or told of the wrapped one: the same weights.
    before = weights(model, guard.keys)
    with plain.protect(wrapped):
        disturb(model, guard.keys)
    assert leak(guard, before, model) < 1e-5
    parameters = [model.get_parameter(key) for key in guard.keys]
    optimizer = torch.optim.SGD(parameters, lr=0.1)
    for parameter in parameters:
        parameter.grad = torch.randn_like(parameter)
    before = weights(model, guard.keys)
    with guard.attach(optimizer):
        optimizer.step()
    assert 0 < leak(guard, before, model) < 1e-5


def disturb(model, keys):
    with torch.no_grad():
        for key in keys:
            parameter = model.get_parameter(key)
            parameter.add_(0.1 * torch.randn_like(parameter))


def test_sites_may_be_named_as_the_wrapped_model_names_them(one_process):
    model = tiny_model("llama")
    for wrapped in (DistributedDataParallel(model), torch.compile(model), lora(model, "down_proj")):
        names = [
            n
            for n, _ in wrapped.named_parameters()
            if n.endswith(("down_proj.weight", "down_proj.base_layer.weight"))
        ]
        guard = Revive(energy=0.3).fit(wrapped, names)
        assert guard.keys == tuple(names)
        for key in names:
            torch.testing.assert_close(
                guard.weight(key), wrapped.get_parameter(key).detach(), rtol=0, atol=0
            )


def test_an_adapter_is_merged_past_the_dominant_directions():
    model = tiny_model("llama")
    wrapped = lora(model, "down_proj")
    guard = Revive(energy=0.3).fit(wrapped)
    before = weights(model, guard.keys)
    with guard.protect(wrapped):
        merged = wrapped.merge_and_unload()
    assert 0 < leak(guard, before, merged) < 1e-5


def test_a_conv1d_keeps_its_orientation_under_an_adapter():
    model = tiny_model("gpt2")
    name = "transformer.h.0.mlp.c_proj.weight"
    guard = Revive(energy=0.3, sides="left").fit(lora(model, "c_proj"), [name])
    plain = Revive(energy=0.3, sides="left").fit(tiny_model("gpt2"), [name])
    assert guard.basis(name).u.shape == plain.basis(name).u.shape
    assert guard.weight(name).shape == plain.weight(name).shape


def test_an_optimizer_of_an_adapter_is_answered_with_what_to_do():
    wrapped = lora(tiny_model("llama"), "down_proj")
    guard = Revive(energy=0.3).fit(wrapped)
    trained = [p for p in wrapped.parameters() if p.requires_grad]
    with pytest.raises(SpecError, match=r"with guard\.protect\(model\): model\.merge_adapter\(\)"):
        guard.attach(torch.optim.SGD(trained, lr=0.1))


def test_the_callback_guards_a_training_of_a_whole_projection_in_peft(tmp_path):
    model = tiny_model("llama")
    wrapped = lora(model, "q_proj", modules_to_save=["down_proj"])
    guard = Revive(energy=0.3).fit(wrapped)
    before = weights(model, guard.keys)
    data = [{"input_ids": [1, 2, 3, 4], "labels": [1, 2, 3, 4]}] * 4
    settings = TrainingArguments(
        str(tmp_path), max_steps=2, learning_rate=0.1, report_to=[], use_cpu=True
    )
    Trainer(wrapped, settings, train_dataset=data, callbacks=[guard.callback()]).train()
    assert 0 < leak(guard, before, model) < 1e-4
