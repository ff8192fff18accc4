"""A model that only answers: no gradients for its parameters, no dropout."""

from collections.abc import Generator
from contextlib import contextmanager

from torch import nn

from revive.models.forward.activations import fused_activations
from revive.models.forward.precision import products
from revive.models.forward.runner import BlockRunner


@contextmanager
def frozen(model: nn.Module) -> Generator[None, None, None]:
    """Inside, parameters take no gradients and the model is in evaluation mode."""
    wanted = [p for p in model.parameters() if p.requires_grad]
    training = model.training
    model.eval()
    for parameter in wanted:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in wanted:
            parameter.requires_grad_(True)
        model.train(training)


@contextmanager
def gradients_through(runner: BlockRunner) -> Generator[None, None, None]:
    """Inside, a frozen model is differentiated at the runner's precision, holding what it must."""
    model = runner.model
    with frozen(model), fused_activations(model), products(runner.precision):
        yield
