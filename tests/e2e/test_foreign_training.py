"""The guard around training code that is not ours: Trainer, DDP, FSDP, a merged LoRA adapter."""

import os

import pytest
import torch
import torch.distributed as dist
from peft import LoraConfig, get_peft_model
from tiny import tiny_model
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel
from transformers import Trainer, TrainingArguments

from revive import SpecError
from revive.guards import Revive

SITE = "model.layers.1.mlp.down_proj.weight"


class Rows(torch.utils.data.Dataset):
    """Fixed token rows."""

    def __len__(self):
        return 16

    def __getitem__(self, index):
        rng = torch.Generator().manual_seed(index)
        ids = torch.randint(3, 259, (12,), generator=rng)
        return {"input_ids": ids, "labels": ids}


def touched(guard, before, model):
    """Largest touch of a protected direction, over the norm of the change."""
    basis = guard.basis(SITE)
    change = (model.get_parameter(SITE).detach() - before).double()
    inside = max(float((basis.u.T @ change).norm()), float((change @ basis.v).norm()))
    return inside / float(change.norm())


def trained(tmp_path, *, guarded, steps=3):
    model = tiny_model("llama", dtype=torch.float32)
    guard = Revive(energy=0.3).fit(model, [SITE])
    before = model.get_parameter(SITE).detach().clone()
    settings = TrainingArguments(
        output_dir=str(tmp_path / "out"),
        max_steps=steps,
        per_device_train_batch_size=4,
        learning_rate=1e-2,
        report_to=[],
        use_cpu=True,
        save_strategy="no",
        disable_tqdm=True,
        logging_strategy="no",
    )
    callbacks = [guard.callback()] if guarded else []
    Trainer(model=model, args=settings, train_dataset=Rows(), callbacks=callbacks).train()
    return touched(guard, before, model)


def test_the_callback_guards_a_trainer(tmp_path):
    assert trained(tmp_path, guarded=True) < 1e-4
    assert trained(tmp_path, guarded=False) > 0.05


def test_a_trainer_is_let_go_at_its_end(tmp_path):
    model = tiny_model("llama", dtype=torch.float32)
    guard = Revive(energy=0.3).fit(model, [SITE])
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    callback = guard.callback()
    callback.on_train_begin(None, None, None, optimizer=optimizer)
    callback.on_train_end(None, None, None)
    before = model.get_parameter(SITE).detach().clone()
    model(**{k: v[None] for k, v in Rows()[0].items()}).loss.backward()
    optimizer.step()
    assert touched(guard, before, model) > 0.05
    with pytest.raises(SpecError, match="no optimizer"):
        callback.on_train_begin(None, None, None)


def test_a_merged_adapter_is_filtered():
    model = tiny_model("llama", dtype=torch.float32)
    guard = Revive(energy=0.3).fit(model, [SITE])
    before = model.get_parameter(SITE).detach().clone()

    def merge():
        torch.manual_seed(0)
        adapted = get_peft_model(model, LoraConfig(r=4, target_modules=["layers.1.mlp.down_proj"]))
        for name, parameter in adapted.named_parameters():
            if "lora_" in name:
                torch.nn.init.normal_(parameter, std=0.1)
        adapted.merge_and_unload()

    with guard.protect(model):
        merge()
    assert touched(guard, before, model) < 1e-4
    with torch.no_grad():
        model.get_parameter(SITE).copy_(before)
    merge()
    assert touched(guard, before, model) > 0.05


@pytest.fixture
def one_process(tmp_path):
    """A process group of one, over a file."""
    os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
    dist.init_process_group(
        "gloo", init_method=f"file://{tmp_path / 'group'}", rank=0, world_size=1
    )
    yield
    dist.destroy_process_group()


def test_ddp_is_guarded_by_the_model_inside(one_process):
    model = tiny_model("llama", dtype=torch.float32)
    wrapped = DistributedDataParallel(model)
    guard = Revive(energy=0.3).fit(model, [SITE])
    before = model.get_parameter(SITE).detach().clone()
    optimizer = torch.optim.AdamW(wrapped.parameters(), lr=1e-2)
    with guard.attach(optimizer):
        wrapped(**{k: v[None] for k, v in Rows()[0].items()}).loss.backward()
        optimizer.step()
    assert touched(guard, before, model) < 1e-4


def test_fsdp_is_refused_with_a_reason(one_process):
    mesh = dist.device_mesh.init_device_mesh("cpu", (1,))
    model = tiny_model("llama", dtype=torch.float32)
    fully_shard(model, mesh=mesh)
    with pytest.raises(SpecError, match=r"is sharded over devices \(FSDP\).*DDP is fine"):
        Revive(energy=0.3).fit(model, [SITE])
