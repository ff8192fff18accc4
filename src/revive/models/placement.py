"""Where a model's weights lie: on one device, on several, or on the disk until they are needed.

Under a device map, accelerate's hooks move what a module is given to the module's device, and bring
weights that are kept elsewhere (`cpu` beside a GPU, `disk`) for the time of the module's forward
alone: outside it they are on `meta`, without values. Editing needs values to stay, so edited
projections are brought in for good; everything else may come and go.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from revive.errors import SpecError

_META = torch.device("meta")


def entry_device(model: Any) -> torch.device:
    """The device that token ids go to: where the model's first weights are, or come to."""
    named = getattr(model, "get_input_embeddings", None)
    # What is measured need not be a model of transformers; such a one is in one place.
    embedding: nn.Module = model if named is None else named()
    for hook in _hooks(embedding):
        if hook.execution_device is not None:
            return torch.device(hook.execution_device)
    return next(embedding.parameters()).device


def is_offloaded(module: nn.Module) -> bool:
    """Whether any weight of a module is in memory only during a forward."""
    return any(hook.offload for part in module.modules() for hook in _hooks(part))


def bring_in(model: nn.Module, parameters: Iterable[str]) -> None:
    """Keep these parameters in memory from now on, on the device that their module runs on.

    Does nothing to those that are there already.

    Raises:
        SpecError: A parameter has no value anywhere.
    """
    for name in parameters:
        module = model.get_submodule(name.rpartition(".")[0])
        if any(hook.offload for hook in _hooks(module)):
            _settle(module)
        if model.get_parameter(name).device == _META:
            raise SpecError(
                f"model: {name} is to be edited and is on the meta device, without a value; give "
                "its block a device in model.device_map, or `disk` to have it read from there."
            )


def named_values(model: Any) -> Iterator[tuple[str, Tensor]]:
    """Every parameter by name, one at a time, read from where it is kept; tied ones once."""
    tied: Mapping[str, str] = getattr(model, "all_tied_weights_keys", None) or {}
    for name, parameter in model.named_parameters():
        if parameter.device != _META:
            yield name, parameter.detach()
        elif name not in tied:
            yield name, _kept_value(model, name)


def _settle(module: nn.Module) -> None:
    from accelerate.hooks import AlignDevicesHook, add_hook_to_module, remove_hook_from_module
    from accelerate.utils import set_module_tensor_to_device

    (hook,) = _hooks(module)
    device = hook.execution_device
    values = {name: hook.weights_map[name] for name, _ in module.named_parameters(recurse=False)}
    remove_hook_from_module(module)
    for name, value in values.items():
        # Never the mapped file itself: it may change under a model that only reads it.
        set_module_tensor_to_device(module, name, device, value=value.clone(), dtype=value.dtype)
    add_hook_to_module(module, AlignDevicesHook(device, skip_keys=hook.skip_keys))


def _kept_value(model: nn.Module, name: str) -> Tensor:
    parts = name.split(".")
    for cut in range(len(parts) - 1, -1, -1):
        for hook in _hooks(model.get_submodule(".".join(parts[:cut]))):
            if hook.weights_map is not None:
                return cast(Tensor, hook.weights_map[".".join(parts[cut:])])
    raise SpecError(f"model: {name} is on the meta device, and nothing says where its value is.")


def _hooks(module: nn.Module) -> list[Any]:
    """Accelerate's placing hooks of one module."""
    hook = getattr(module, "_hf_hook", None)
    parts = getattr(hook, "hooks", (hook,))
    return [part for part in parts if hasattr(part, "execution_device")]
