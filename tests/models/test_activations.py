"""Activations that are computed in one operation instead of several."""

import pytest
import torch
from test_targets import SETTINGS, encoded, runner
from tiny import tiny_model
from torch.utils._python_dispatch import TorchDispatchMode
from transformers.activations import ACT2FN

from revive.editors.target_solver.targets import solve_targets
from revive.models.forward.activations import fused_activations


class Operations(TorchDispatchMode):
    """Names of what is computed."""

    def __init__(self):
        super().__init__()
        self.seen = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.seen.add(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


def kept(work):
    """Bytes that autograd keeps."""
    found = {}

    def pack(tensor):
        found[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = work()
    return sum(found.values()), result


@pytest.mark.parametrize("name", ["gelu_new", "gelu_fast", "gelu_accurate"])
def test_only_rounding_changes_and_less_is_kept(name):
    module = torch.nn.ModuleList([ACT2FN[name]])
    x = torch.linspace(-8, 8, 1001, dtype=torch.float64, requires_grad=True)
    y = x * 1  # not a leaf, whose memory is there anyway
    many, before = kept(lambda: module[0](y))
    with fused_activations(module):
        one, inside = kept(lambda: module[0](y))
    torch.testing.assert_close(inside, before, rtol=1e-9, atol=1e-9)
    slopes = [torch.autograd.grad(out.sum(), x, retain_graph=True)[0] for out in (before, inside)]
    torch.testing.assert_close(*slopes, rtol=1e-9, atol=1e-9)
    assert 3 * one <= many
    assert (module[0](y) == before).all(), "as it was afterwards"


@pytest.mark.parametrize("name", ["gelu", "gelu_pytorch_tanh", "relu", "silu", "quick_gelu"])
def test_others_are_left_alone(name):
    module = torch.nn.ModuleList([ACT2FN[name]])
    with fused_activations(module):
        assert "forward" not in vars(module[0])


def test_a_model_is_as_it_was_after_an_error():
    model = tiny_model("gpt2", dtype=torch.float64)
    ids = torch.arange(3, 13)[None]
    before = model(input_ids=ids).logits
    inside = None

    def fail():
        nonlocal inside
        with fused_activations(model):
            inside = model(input_ids=ids).logits
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    torch.testing.assert_close(inside, before, rtol=1e-12, atol=1e-12)
    assert not torch.equal(inside, before), "it was computed another way"
    assert torch.equal(model(input_ids=ids).logits, before)


def test_a_forward_that_somebody_put_there_stays():
    module = torch.nn.ModuleList([ACT2FN["gelu_new"]])
    module[0].forward = torch.relu
    with fused_activations(module):
        assert module[0].forward is torch.relu
    assert module[0].forward is torch.relu


def test_targets_are_solved_with_it():
    run = runner("gpt2", torch.float64)
    with Operations() as alone:
        run.model(input_ids=torch.arange(3, 13)[None])
    assert "tanh" in alone.seen
    with Operations() as solving:
        solve_targets(run, encoded(bos=False), SETTINGS)
    assert {"gelu", "gelu_backward"} <= solving.seen
    assert not {"tanh", "tanh_backward"} & solving.seen
