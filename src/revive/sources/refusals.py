"""What cannot be edited, told from small files alone: no weight is read to say no. No torch."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from revive.errors import SpecError

_ADAPTER = "adapter_config.json"
_POINTER = b"version https://git-lfs.github.com/spec/"
_POINTER_SIZE = 1024  # bytes; the longest that git-lfs takes for one
_READ = frozenset({"fp8"})
"""Ways of storing weights that are undone while a model is loaded."""

_IMPLEMENTATION = ("attn_implementation", "experts_implementation")
"""Ends of keys whose value may be a repository of kernels; transformers takes them from a file."""

_NAMES = {
    "gptq": "GPTQ",
    "awq": "AWQ",
    "bitsandbytes": "bitsandbytes",
    "compressed-tensors": "compressed-tensors",
    "aqlm": "AQLM",
    "hqq": "HQQ",
    "eetq": "EETQ",
    "quanto": "Quanto",
    "torchao": "torchao",
    "mxfp4": "MXFP4",
    "fbgemm_fp8": "FBGEMM FP8",
}


def refuse_adapter(folder: Path) -> None:
    """Refuse a folder that holds an adapter instead of a model.

    Raises:
        SpecError: It does.
    """
    path = folder / _ADAPTER
    if not path.is_file():
        return
    base = _read(path).get("base_model_name_or_path") or "a model that it does not name"
    raise SpecError(
        f"model.name: {folder} is no model but an adapter of {base}. Name {base} to edit it "
        "without the adapter; or merge the adapter into it, `peft.AutoPeftModelForCausalLM."
        f"from_pretrained({str(folder)!r}).merge_and_unload().save_pretrained(OUT)`, and name OUT."
    )


def refuse_pointers(folder: Path) -> None:
    """Refuse a folder in which git-lfs has left pointers instead of files.

    Raises:
        SpecError: It has.
    """
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.stat().st_size <= _POINTER_SIZE and is_pointer(path):
            raise SpecError(
                f"model.name: {path} is a git-lfs pointer, not the file itself; run `git lfs pull` "
                f"in {folder}."
            )


def is_pointer(path: Path) -> bool:
    """Whether a file only says where git-lfs has it."""
    with path.open("rb") as file:
        return file.read(len(_POINTER)) == _POINTER


def refuse_quantized(name: str, config: Mapping[str, Any]) -> None:
    """Refuse a checkpoint whose weights are stored as something else than numbers.

    Args:
        name: Of the model.
        config: Its `config.json`.

    Raises:
        SpecError: They are.
    """
    method = quantized_by(config)
    if method is None or method in _READ:
        return
    raise SpecError(
        f"model: {name} is stored quantised by {_NAMES.get(method, method)}, and such weights "
        "cannot be edited; take the checkpoint that it was made from, with model.quantize "
        "(--quantize) if that is too large."
    )


def refuse_kernels(name: str, config: Mapping[str, Any]) -> None:
    """Refuse a config that has transformers fetch and run code from the hub.

    Args:
        name: Of the model.
        config: Its `config.json`.

    Raises:
        SpecError: It does.
    """
    for key, value in config.items():
        if isinstance(value, Mapping):
            refuse_kernels(name, value)
        elif key.endswith(_IMPLEMENTATION) and "/" in str(value):
            raise SpecError(
                f"model: {key} in the config of {name} names code from the hub ({value}), which is "
                "not run; remove that line from its config.json."
            )


def quantized_by(config: Mapping[str, Any]) -> str | None:
    """The method of a config's `quantization_config`; None where there is none."""
    found = config.get("quantization_config")
    if not isinstance(found, Mapping):
        nested = config.get("text_config")
        return quantized_by(nested) if isinstance(nested, Mapping) else None
    method = found.get("quant_method")
    if method is None:
        # As bitsandbytes wrote it before there were others.
        return "bitsandbytes" if found.get("load_in_8bit") or found.get("load_in_4bit") else "?"
    return str(method).removeprefix("QuantizationMethod.").lower()


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SpecError(f"{path}: not readable ({error}).") from error
    return found if isinstance(found, dict) else {}
