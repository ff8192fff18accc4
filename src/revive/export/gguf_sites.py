"""Which tensors of a GGUF file the edited weights are, proven on their values.

llama.cpp's converter keeps second MLP projections as `y = W x` has them, `[d_out, d_in]`, whatever
way the checkpoint stores them; attention projections it permutes for some architectures. Nothing
is taken on trust here: what the file holds must be the weight that the run began with, but for the
file's rounding.
"""

from pathlib import Path

import numpy as np
from gguf import MODEL_ARCH, MODEL_ARCH_NAMES, get_tensor_name_map
from numpy.typing import NDArray

from revive.errors import SpecError
from revive.export.gguf_file import read_weight
from revive.models.ledger import Ledger
from revive.models.site import Site
from revive.sources.gguf import Head

_MOST = 0.5
"""Two bits a value leave a weight 0.3 of its norm off; another weight is off by 1.4 of it."""


_CALLED = {
    "mistral": "llama",
    "gpt_neox": "gptneox",
    "phi": "phi2",
    "cohere": "command-r",
    "gemma3_text": "gemma3",
}
"""llama.cpp's names of architectures by `model_type`, where they differ."""


def architecture_of(model_type: str) -> str:
    """llama.cpp's name of an architecture.

    Raises:
        SpecError: It has none that is known here.
    """
    name = _CALLED.get(model_type, model_type)
    if name not in MODEL_ARCH_NAMES.values():
        raise SpecError(
            f"export: what llama.cpp calls the architecture {model_type!r} is not known here; name "
            "a GGUF file of the base with --gguf."
        )
    return name


def tensor_name(architecture: str, site: Site) -> str:
    """llama.cpp's name of a site's weight.

    Args:
        architecture: llama.cpp's name of it.
        site: The site.

    Raises:
        SpecError: The weight is one of several in a tensor, or there is no name for it.
    """
    if site.expert is not None:
        raise SpecError(
            "export: GGUF keeps all experts of a block in one tensor, and one of them cannot be "
            "replaced; export a model folder (--format hf) and convert it with llama.cpp's "
            "convert_hf_to_gguf.py."
        )
    known = {name: kind for kind, name in MODEL_ARCH_NAMES.items()}
    kind: MODEL_ARCH | None = known.get(architecture)
    name = None
    if kind is not None:
        names = get_tensor_name_map(kind, site.layer + 1)
        name = names.get_name(site.parameter, try_suffixes=(".weight",))
    if name is None:
        raise SpecError(
            f"export: llama.cpp's architecture {architecture!r} has no tensor for "
            f"{site.parameter}; export a model folder (--format hf) and convert it with "
            "llama.cpp's convert_hf_to_gguf.py."
        )
    return name


def matched(file: Path, head: Head, ledger: Ledger) -> dict[str, str]:
    """The names in a file of the weights that a run changed, by key.

    Raises:
        SpecError: The file is of another model.
    """
    found: dict[str, str] = {}
    for key in changed(ledger):
        name = tensor_name(head.architecture, ledger.sites[key])
        _check(file, head, name, ledger.original(key).double().cpu().numpy(), key)
        found[key] = name
    return found


def changed(ledger: Ledger) -> list[str]:
    """Keys of the weights that a run changed.

    Raises:
        SpecError: There are none.
    """
    keys = [key for key in ledger.used if bool(ledger.delta(key).any())]
    if not keys:
        raise SpecError("export: no weight was changed, so there is nothing to write.")
    return keys


def _check(file: Path, head: Head, name: str, weight: NDArray[np.float64], key: str) -> None:
    stored = head.tensors.get(name)
    if stored is None:
        raise SpecError(f"--gguf: {file} has no tensor {name}; it is of another model.")
    shape = tuple(reversed(stored.shape))
    if shape != weight.shape:
        raise SpecError(
            f"--gguf: {name} of {file} is {_times(shape)} and {key} is {_times(weight.shape)}; the "
            "file is of another model."
        )
    held = read_weight(file, head, name)
    if held is None:
        return  # of a type that nothing here can read
    off = float(np.linalg.norm(held - weight)) / max(float(np.linalg.norm(weight)), 1e-30)
    if not off < _MOST:
        raise SpecError(
            f"--gguf: {name} of {file} is not the weight that the run began with (they differ by "
            f"{off:.1f} times its norm); name the file that was made from that model."
        )


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
