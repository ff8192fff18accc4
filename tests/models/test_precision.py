"""Fast products are for forward passes, and end with them."""

import pytest
import torch
from tiny import byte_tokenizer, tiny_model

from revive.models.family import family_of
from revive.models.forward.precision import products
from revive.models.forward.runner import BlockRunner
from revive.moments.gradient_moments import collect_gradients
from revive.moments.input_moments import collect_moments


def test_the_setting_ends_with_the_block_even_after_an_error():
    before = torch.get_float32_matmul_precision()
    with products("fast"):
        assert torch.get_float32_matmul_precision() == "medium"
        with products("strict"):
            assert torch.get_float32_matmul_precision() == "highest"
        assert torch.get_float32_matmul_precision() == "medium"
    with pytest.raises(RuntimeError), products("fast"):
        raise RuntimeError
    assert torch.get_float32_matmul_precision() == before


@pytest.mark.parametrize(("precision", "inside"), [("strict", "highest"), ("fast", "medium")])
def test_a_runner_s_forward_passes_use_its_precision_and_nothing_after_does(precision, inside):
    model = tiny_model("llama", dtype=torch.float32)
    runner = BlockRunner(model, family_of(model), precision)
    before = torch.get_float32_matmul_precision()
    seen = []
    hook = runner.family.blocks_of(model)[0].register_forward_pre_hook(
        lambda module, args: seen.append(torch.get_float32_matmul_precision())
    )
    ids = torch.tensor([[1, 2, 3]])
    mask = torch.ones_like(ids)
    hidden = runner.embed_through(ids, mask, 0)
    runner.run(hidden, 0, 1, mask, torch.arange(3)[None])
    hook.remove()
    assert seen == [inside, inside]
    assert torch.get_float32_matmul_precision() == before


@pytest.mark.parametrize("collect", [collect_moments, collect_gradients])
def test_statistics_of_text_are_strict_for_a_fast_runner_too(collect):
    """They are kept for every later run of the model, whatever its precision."""
    model = tiny_model("llama", dtype=torch.float32)
    runner = BlockRunner(model, family_of(model), "fast")
    seen = []
    hook = runner.family.blocks_of(model)[0].register_forward_pre_hook(
        lambda module, args: seen.append(torch.get_float32_matmul_precision())
    )
    collect(runner, byte_tokenizer(), runner.family.sites(model), ["It was cold."])
    hook.remove()
    assert seen == ["highest"]
    assert runner.precision == "fast"
