"""Models in the clothes of other libraries: DDP, `torch.compile`, PEFT."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn

from revive.errors import SpecError

_INSIDE = frozenset({"module", "_orig_mod", "_fsdp_wrapped_module"})
"""What DDP and DataParallel, `torch.compile`, and FSDP call the module that they hold."""


def unwrap(model: nn.Module) -> nn.Module:
    """The model inside; one that wears nothing is returned as it is.

    Adapters that PEFT has put into the layers stay there: what they add is part of what the model
    computes. A projection with one still answers to its plain name.
    """
    while True:
        children = dict(model.named_children())
        base = getattr(model, "get_base_model", None)
        if len(children) == 1 and _INSIDE.issuperset(children):
            model = next(iter(children.values()))
        elif callable(base):
            model = cast(nn.Module, base())
        else:
            return model


def plain_name(name: str) -> str:
    """A parameter's name in the model inside, from its name in a wrapped one."""
    prefixes = (*(f"{part}." for part in sorted(_INSIDE)), "base_model.model.")
    while found := next((p for p in prefixes if name.startswith(p)), None):
        name = name.removeprefix(found)
    return name.replace(".base_layer.", ".").replace("._orig_mod.", ".")


def has_adapters(model: nn.Module) -> bool:
    """Whether PEFT has put adapters into a model's layers."""
    return bool(_adapted(model))


@contextmanager
def adapters_merged(model: nn.Module) -> Generator[dict[str, Tensor] | None, None, None]:
    """The weights with all active adapters in them, as the model without adapters names them.

    For the time of the block they are in the model's weights too; then those are what they were,
    bit for bit. Yields None for a model without adapters.

    Raises:
        SpecError: An adapter cannot be merged into a weight.
    """
    layers = _adapted(model)
    if not layers:
        yield None
        return
    before = {
        path: [p.detach().clone() for p in layer.get_base_layer().parameters()]
        for path, layer in layers.items()
        if not layer.merged and not layer.disable_adapters
    }
    try:
        try:
            for path in before:
                layers[path].merge(safe_merge=True)
        except (ValueError, NotImplementedError, TypeError) as error:
            raise SpecError(
                f"model: its adapter cannot be merged into the weights ({error}), and a model "
                "folder has no room for it beside them."
            ) from error
        yield _without_adapters(model, layers)
    finally:
        for path, values in before.items():
            layers[path].unmerge()
            with torch.no_grad():
                for parameter, value in zip(
                    layers[path].get_base_layer().parameters(), values, strict=True
                ):
                    parameter.copy_(value)


def _adapted(model: nn.Module) -> dict[str, Any]:
    """PEFT's layers, by path."""
    return {
        path: module
        for path, module in model.named_modules()
        if callable(getattr(module, "get_base_layer", None)) and hasattr(module, "merged")
    }


def _without_adapters(model: nn.Module, layers: dict[str, Any]) -> dict[str, Tensor]:
    trained = {
        path: f"{path}.modules_to_save.{cast(Any, module).active_adapters[0]}."
        for path, module in model.named_modules()
        if "modules_to_save" in dict(module.named_children())
    }
    inside = {**{path: f"{path}.base_layer." for path in layers}, **trained}
    state: dict[str, Tensor] = {}
    for key, value in model.state_dict().items():
        owner = next((path for path in inside if key.startswith(f"{path}.")), None)
        if owner is None:
            state[key] = value
        elif key.startswith(inside[owner]):
            state[f"{owner}.{key.removeprefix(inside[owner])}"] = value
    return state
