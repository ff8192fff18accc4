"""What cannot be edited, told from small files alone: no weight is read to say no. No torch."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from textwrap import shorten
from typing import Any

from revive.errors import SpecError
from revive.io.json_text import read_json

_ADAPTER = "adapter_config.json"
_PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
_POINTER = b"version https://git-lfs.github.com/spec/"
_POINTER_SIZE = 1024  # bytes; the longest that git-lfs takes for one
_READ = frozenset({"fp8"})
"""Ways of storing weights that are undone while a model is loaded."""

_IMPLEMENTATION = ("attn_implementation", "experts_implementation")
"""Ends of keys whose value may be a repository of kernels; transformers takes them from a file."""

_MOST = {
    **dict.fromkeys(("num_hidden_layers", "n_layer", "num_layers"), 10_000),
    **dict.fromkeys(("num_experts", "num_local_experts"), 100_000),
    **dict.fromkeys(("hidden_size", "n_embd", "intermediate_size", "n_inner"), 10**8),
    **dict.fromkeys(("num_attention_heads", "n_head", "num_key_value_heads"), 10**6),
    **dict.fromkeys(("vocab_size", "max_position_embeddings", "n_positions"), 10**9),
}
"""By key of a config: what no model exceeds."""

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


def refuse_pickled(name: str, files: Iterable[str]) -> None:
    """Refuse a model whose weights are there as pickles alone: opening such a file can run code.

    Args:
        name: Of the model.
        files: Names of its files.

    Raises:
        SpecError: They are.
    """
    found = sorted(files)
    pickled = [file for file in found if file.endswith(_PICKLED)]
    if not pickled or any(file.endswith((".safetensors", ".gguf")) for file in found):
        return
    raise no_safetensors(name, f"are pickles ({pickled[0]})")


def no_safetensors(name: str, what: str) -> SpecError:
    """What to tell a user whose model has no weights that are safe to open."""
    return SpecError(
        f"model: the weights of {name} {what}, and pickles can run code when they are opened; "
        "safetensors and GGUF are read. If you trust where they come from, convert them in Python: "
        "from transformers import AutoModelForCausalLM as M, AutoTokenizer as T; "
        f"M.from_pretrained({name!r}).save_pretrained('OUT'); "
        f"T.from_pretrained({name!r}).save_pretrained('OUT'). Then name OUT."
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


def refuse_odd(name: str, config: Mapping[str, Any]) -> None:
    """Refuse a config whose architecture or sizes are none.

    Args:
        name: Of the model.
        config: Its `config.json`.

    Raises:
        SpecError: They are none, or larger than any model's: building it would not end.
    """
    declared = config.get("architectures")
    listed = isinstance(declared, list) and all(isinstance(a, str) for a in declared)
    if declared is not None and not listed:
        raise SpecError(
            f"model: architectures in the config of {name} is {_shown(declared)}, expected a list "
            "of names; restore its config.json."
        )
    for key, most in _MOST.items():
        value = config.get(key)
        if isinstance(value, int | float) and not 0 <= value <= most:
            raise SpecError(
                f"model: {key} in the config of {name} is {_shown(value)}, and no model has more "
                f"than {most:,}; restore its config.json."
            )
    nested = config.get("text_config")
    if isinstance(nested, Mapping):
        refuse_odd(name, nested)


def _shown(value: object) -> str:
    return shorten(repr(value), 40, placeholder=" ...")


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
        found = read_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SpecError(f"{path}: not readable ({error}).") from error
    return found if isinstance(found, dict) else {}
