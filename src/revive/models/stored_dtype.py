"""In which dtype a checkpoint is stored, and a saved one written in the same."""

import json
from collections import Counter
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from revive.errors import SpecError

_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "BF16": torch.bfloat16,
    "F16": torch.float16,
}
NAMES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
NAMES["float64"] = torch.float64


def stored_dtypes(place: Path) -> dict[str, torch.dtype]:
    """The dtype of every floating-point tensor of a safetensors file, or a folder's, by name."""
    found: dict[str, torch.dtype] = {}
    for shard in sorted(place.glob("*.safetensors")) if place.is_dir() else (place,):
        with safe_open(shard, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118
                dtype = _DTYPES.get(file.get_slice(name).get_dtype())
                if dtype is not None:
                    found[name] = dtype
    return found


def stored_values(folder: Path) -> int:
    """How many numbers a folder's safetensors files hold."""
    count = 0
    for shard in folder.glob("*.safetensors"):
        with safe_open(shard, framework="pt") as file:
            count += sum(prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118
    return count


def main_dtype(folder: Path | None, config: Mapping[str, Any]) -> torch.dtype | None:
    """What most of a checkpoint's matrices are stored in; None where nothing says so.

    Args:
        folder: Of the checkpoint, if it is here.
        config: Its config, which is asked where there are no safetensors files, or other numbers
            in them than floats of 16 bits or more.
    """
    counted = Counter((stored_dtypes(folder) if folder is not None else {}).values())
    nested = config.get("text_config")
    said = config.get("dtype") or config.get("torch_dtype")
    if said is None and isinstance(nested, Mapping):
        return main_dtype(folder, nested)
    told = NAMES.get(str(said).removeprefix("torch."))
    if counted and not config.get("quantization_config"):
        return counted.most_common(1)[0][0]
    return told


def saved_dtype(wanted: str | None, stored: torch.dtype | None, model: torch.dtype) -> torch.dtype:
    """What a model is saved in: as asked, else as its base, which never is more than it has.

    Args:
        wanted: Name of a dtype, or None.
        stored: The base's.
        model: That the model is held in.

    Raises:
        SpecError: There is no such dtype.
    """
    if wanted is not None:
        if wanted not in NAMES:
            raise SpecError(f"dtype: {wanted!r} is unknown; use one of {', '.join(NAMES)}.")
        return NAMES[wanted]
    return stored if stored is not None and stored.itemsize < model.itemsize else model


def rounded(weight: Tensor, dtype: torch.dtype, name: str) -> Tensor:
    """A weight in another dtype.

    Raises:
        SpecError: A value is too large for it.
    """
    cast = weight.to(dtype)
    if bool(torch.isfinite(weight).all()) and not bool(torch.isfinite(cast).all()):
        raise SpecError(
            f"{name} holds values that {dtype_name(dtype)} has no room for; save in float32 or "
            "bfloat16."
        )
    return cast


def recast(folder: Path, dtype: torch.dtype) -> None:
    """Write a saved folder's weights anew in a dtype, one shard at a time.

    Raises:
        SpecError: A value is too large for it.
    """
    total = 0
    for shard in sorted(folder.glob("*.safetensors")):
        tensors = {
            name: rounded(value, dtype, name) if value.is_floating_point() else value
            for name, value in load_file(shard).items()
        }
        total += sum(value.nbytes for value in tensors.values())
        save_file(tensors, shard, {"format": "pt"})
    _write(folder / "config.json", {"dtype": dtype_name(dtype)})
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        metadata = json.loads(index.read_text("utf-8"))["metadata"]
        _write(index, {"metadata": {**metadata, "total_size": total}})


def _write(path: Path, changes: Mapping[str, Any]) -> None:
    said = json.loads(path.read_text("utf-8"))
    text = json.dumps({**said, **changes}, indent=2, sort_keys=True, ensure_ascii=False)
    path.write_text(text + "\n", "utf-8")


def dtype_name(dtype: torch.dtype) -> str:
    """As specs and configs write it, e.g. `bfloat16`."""
    return str(dtype).removeprefix("torch.")
