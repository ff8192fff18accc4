"""Tensors in safetensors files, written as a whole."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from revive.errors import SpecError
from revive.runs.atomic import replacing

if TYPE_CHECKING:
    from torch import Tensor


def save_tensors(path: Path, tensors: "Mapping[str, Tensor]") -> None:
    """Write named tensors; views and shared storage are allowed.

    Raises:
        PrerequisiteError: The disk is full.
    """
    from safetensors.torch import save_file

    stored: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in tensors.items():
        held = tensor.detach().cpu().contiguous()
        address = held.untyped_storage().data_ptr()
        stored[name] = held.clone() if address in seen else held
        seen.add(address)
    with replacing(path) as partial:
        save_file(stored, partial)


def load_tensors(path: Path, prefix: str = "") -> "dict[str, Tensor]":
    """Read named tensors, to the CPU; those alone whose name begins with `prefix`.

    Raises:
        SpecError: The file is missing or damaged.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            wanted = [name for name in file.keys() if name.startswith(prefix)]  # noqa: SIM118
            # Copies are aligned in memory, a mapped file is not: products may round differently.
            return {name: file.get_tensor(name).clone() for name in wanted}
    except (SafetensorError, OSError) as error:
        reason = "is missing" if not path.exists() else f"is damaged ({error})"
        raise SpecError(
            f"{path}: {reason}; restore it from a copy, or go back to a batch before it with "
            "'revive rollback RUN --to STEP'."
        ) from error
