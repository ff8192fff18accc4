"""A model folder whose unchanged files are the base's own.

Only shards that hold an edited weight are written anew; the rest, configuration, tokenizer and
generation settings among it, is copied as it is. Edited weights are rounded to the dtype of the
base, which the card puts a number on. A model that is saved in another dtype is written anew as a
whole. So is a mixture of experts, whose checkpoint keeps apart what the loaded model holds in one
parameter.
"""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from revive.models.ledger import Ledger
from revive.models.loading import LoadedModel
from revive.models.saving import appearing, save_model
from revive.models.stored_dtype import rounded, stored_dtypes
from revive.models.text_part import names_in_whole

_NOT_MODEL = frozenset({".git", "__pycache__"})
_PAPERS = ("LICENSE", "LICENCE", "NOTICE", "USE_POLICY")
_OTHER_WEIGHTS = (".bin", ".pt", ".pth", ".h5", ".msgpack", ".onnx", ".gguf")


def save_folder(
    loaded: LoadedModel,
    ledger: Ledger,
    base: Path | None,
    folder: Path,
    card: str,
    dtype: torch.dtype,
) -> bool:
    """Save an edited model.

    Args:
        loaded: The model, with its edits in it.
        ledger: Knows the edited weights.
        base: Folder that the model was read from, where there is one.
        folder: Appears whole or not at all.
        card: The model card, `README.md`.
        dtype: Of the saved weights.

    Returns:
        Whether the base's own files were kept; where it has no safetensors with these weights in
        that dtype, all of it is written anew.

    Raises:
        SpecError: An edited value is too large for the dtype.
    """
    edited = changed_weights(loaded, ledger)
    changed = {name: rounded(weight, dtype, name) for name, weight in edited.items()}
    places = _places(base, changed) if base is not None else None
    if base is None or places is None:
        save_model(loaded, folder, dtype=dtype, card=card, papers=_papers(base))
        return False
    with appearing(folder) as partial:
        shutil.copytree(base, partial, dirs_exist_ok=True, ignore=_unwanted(set(places)))
        for shard, names in places.items():
            weights = {there: changed[name] for there, name in names.items()}
            _rewrite(base / shard, partial / shard, weights)
        (partial / "README.md").write_text(card, encoding="utf-8")
    return True


def _papers(base: Path | None) -> list[Path]:
    """What has to go along with the weights, in whatever form they are written."""
    found = [] if base is None else sorted(base.iterdir())
    return [p for p in found if p.is_file() and p.name.upper().startswith(_PAPERS)]


def changed_weights(loaded: LoadedModel, ledger: Ledger) -> dict[str, Tensor]:
    """Edited parameters, as stored in the model."""
    names = {ledger.sites[key].parameter for key in ledger.used if bool(ledger.delta(key).any())}
    return {name: loaded.model.get_parameter(name).detach() for name in sorted(names)}


def _places(base: Path, changed: Mapping[str, Tensor]) -> dict[str, dict[str, str]] | None:
    """Which shard holds which of these weights, and under what name; None unless it holds all.

    Those in another dtype do not count.
    """
    found: dict[str, dict[str, str]] = {}
    for shard in sorted(base.glob("*.safetensors")):
        dtypes = stored_dtypes(shard)
        held = {
            there: name
            for name, weight in changed.items()
            for there in names_in_whole(name)
            if dtypes.get(there) == weight.dtype
        }
        if held:
            found[shard.name] = held
    held_names = {name for held in found.values() for name in held.values()}
    return found if held_names == set(changed) else None


def _unwanted(rewritten: set[str]) -> Callable[[str, list[str]], set[str]]:
    def ignore(_folder: str, names: list[str]) -> set[str]:
        return {
            n
            for n in names
            if n in rewritten or n in _NOT_MODEL or n == "README.md" or n.endswith(_OTHER_WEIGHTS)
        }

    return ignore


def _rewrite(source: Path, target: Path, changed: Mapping[str, Tensor]) -> None:
    """Copy a shard and overwrite its edited weights where they stand; no other byte changes."""
    shutil.copyfile(source, target)
    with target.open("r+b") as file:
        # https://huggingface.co/docs/safetensors: 8 bytes of length, a JSON header, the values.
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
        for name, weight in changed.items():
            file.seek(8 + length + header[name]["data_offsets"][0])
            file.write(weight.cpu().contiguous().view(torch.uint8).numpy().tobytes())
