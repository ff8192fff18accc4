"""Tensors in safetensors files, written as a whole and checked when they are read."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from revive.io.sealed import (
    DamagedError,
    Identity,
    Values,
    check_header,
    check_values,
    read_header,
    refuse_link,
    write_sealed,
)

if TYPE_CHECKING:
    from torch import Tensor


def save_tensors(
    path: Path, tensors: "Mapping[str, Tensor]", about: Mapping[str, str] | None = None
) -> str:
    """Write named tensors; views and shared storage are allowed.

    Args:
        path: The file; its folder is made.
        tensors: By name.
        about: What the file says of itself besides.

    Returns:
        The file's seal.

    Raises:
        PrerequisiteError: The disk is full.
    """
    values = {name: _values(tensor) for name, tensor in tensors.items()}
    return write_sealed(path, values, about or {})


def load_tensors(
    path: Path,
    prefix: str = "",
    identity: Identity | None = None,
    seal: str | None = None,
) -> "dict[str, Tensor]":
    """Read named tensors, to the CPU; those alone whose name begins with `prefix`.

    Args:
        path: The file.
        prefix: Of the names.
        identity: What the file must be; None takes any.
        seal: What the journal knows it by; None where that was not kept.

    Raises:
        DamagedError: The file is missing, damaged or another one.
    """
    from safetensors import SafetensorError, safe_open

    if identity is not None:
        refuse_link(path)
    header = read_header(path)
    if identity is not None:
        check_header(path, header, identity, seal)
    found: dict[str, Tensor] = {}
    try:
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118
                if name.startswith(prefix):
                    # Copies are aligned in memory, a mapped file is not: products may round
                    # differently.
                    found[name] = file.get_tensor(name).clone()
    except (SafetensorError, OSError) as error:
        raise DamagedError(path, f"is damaged ({error})") from error
    for name, tensor in found.items():
        check_values(path, header, name, _bytes(tensor))
    return found


def _values(tensor: "Tensor") -> Values:
    held = tensor.detach().cpu().contiguous()
    return Values(_name_of(held), tuple(held.shape), _bytes(held))


def _bytes(tensor: "Tensor") -> memoryview:
    import torch

    values: Any = tensor.reshape(-1).view(torch.uint8).numpy()
    return memoryview(values)


def _name_of(tensor: "Tensor") -> str:
    kind, bits = ("BF", 16) if "bfloat" in str(tensor.dtype) else ("", tensor.element_size() * 8)
    if str(tensor.dtype) == "torch.bool":
        return "BOOL"
    kind = kind or ("F" if tensor.is_floating_point() else "I" if tensor.dtype.is_signed else "U")
    return f"{kind}{bits}"
