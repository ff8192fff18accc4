"""Whether a family reads weights the way its modules do: their own answers against W x."""

from typing import Any

import torch
from torch import Tensor

from revive.models.family import read_weight
from revive.models.forward.activation_hooks import routed_inputs_of
from revive.models.forward.runner import BlockRunner
from revive.models.loading import LoadedModel
from revive.models.placement import entry_device
from revive.models.site import Site, by_layer

TEXT = "The lighthouse keeper wrote a letter to Zoe"


def orientation_error(loaded: LoadedModel, sites: tuple[Site, ...]) -> float:
    """Largest relative error of W x + b, or of the sum of W k over a mixture's experts."""
    return max(
        _projection_error(loaded.model, block[0])
        if block[0].expert is None
        else _mixture_error(loaded, block)
        for block in by_layer(sites)
    )


def ids_of(loaded: LoadedModel, text: str) -> Tensor:
    """Token ids of a text, `[1, length]`, where the model takes them."""
    device = entry_device(loaded.model)
    return torch.tensor([loaded.tokenizer(text)["input_ids"]], device=device)


def _projection_error(model: Any, site: Site) -> float:
    """The projection's own answer to random inputs against W x + b."""
    module = model.get_submodule(site.module)
    x = torch.randn(4, site.shape[1], generator=torch.Generator().manual_seed(0))
    x = x.to(model.get_parameter(site.parameter))
    with torch.no_grad():
        answer: Tensor = module(x).double()
    own = x.double() @ read_weight(model, site).double().T
    bias: Tensor | None = getattr(module, "bias", None)
    own = own if bias is None else own + bias.detach().double()
    return float((answer - own).norm() / own.norm())


def _mixture_error(loaded: LoadedModel, block: tuple[Site, ...]) -> float:
    """What an experts' module gives on a text against the weighted keys that editors would see."""
    model = loaded.model
    answers: list[Tensor] = []

    def hook(_module: Any, _args: Any, output: Tensor) -> None:
        answers.append(output.double())

    runner = BlockRunner(model, loaded.family)
    ids = ids_of(loaded, TEXT)
    handle = model.get_submodule(block[0].module).register_forward_hook(hook)
    try:
        with torch.no_grad(), routed_inputs_of(runner, block) as seen:
            runner.embed_through(ids, torch.ones_like(ids), block[0].layer)
    finally:
        handle.remove()
    answer = answers[-1].reshape(ids.shape[1], -1)
    own = torch.zeros_like(answer)
    for site in block:
        found = seen[site.key]
        own.index_add_(
            0, found.positions, found.keys.double() @ read_weight(model, site).double().T
        )
    return float((answer - own).norm() / own.norm())
