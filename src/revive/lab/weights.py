"""The shipped weights: four bits each in the package, a model folder like any other in the cache.

The package holds a GGUF file of blocks of 32 values that share a scale (Q4_0, as llama.cpp defines
it); it is a container alone, in transformers' names, and no model that llama.cpp reads. No torch.
"""

import hashlib
import json
import shutil
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from revive.errors import PrerequisiteError
from revive.io.cached_folders import kept

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PACKAGED = Path(__file__).resolve().parent / "model"
PACKED = "weights.gguf"
KIND = "Q4_0"
"""The coarsest type that `recipes/lab_weights.py` finds no difference at."""
_FORM = "bfloat16-1"
"""How the file is written out; another form is another folder."""


def model_path() -> Path:
    """Folder of the embedded model, in Hugging Face form; the first use writes it to the cache.

    Raises:
        PrerequisiteError: The package is damaged, the disk is full, or the cache cannot be written
            to.
    """
    return kept(f"lab-{_digest()[:12]}", lambda private: unpack(PACKAGED, private / "made"))


@cache
def _digest() -> str:
    digest = hashlib.sha256(_FORM.encode())
    for path in _files(PACKAGED):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*") if path.is_file())


def unpack(packaged: Path, folder: Path) -> Path:
    """Write a packed model out in bfloat16, the same bytes everywhere.

    Args:
        packaged: Folder with `PACKED` and the files that go along with it.
        folder: Must not exist.

    Raises:
        PrerequisiteError: The packed file is missing or damaged.
    """
    try:
        content = _safetensors(read_packed(packaged / PACKED))
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise PrerequisiteError(
            f"model.name: the lab model is not whole in {packaged} ({error}); reinstall "
            "revive-edit from a complete package."
        ) from error
    folder.mkdir()
    for path in _files(packaged):
        if path.name != PACKED:
            shutil.copyfile(path, folder / path.name)
    (folder / "model.safetensors").write_bytes(content)
    return folder


def read_packed(path: Path) -> "dict[str, NDArray[np.float32]]":
    """The values of a packed file, by name.

    Raises:
        OSError: There is no such file; ValueError, KeyError or IndexError: it is damaged.
    """
    import numpy as np
    from gguf import GGUFReader, quants

    return {
        stored.name: np.array(quants.dequantize(stored.data, stored.tensor_type))
        for stored in GGUFReader(path).tensors
    }


def pack(tensors: "Mapping[str, NDArray[np.float32]]", path: Path, kind: str = KIND) -> None:
    """Write a packed file: matrices in blocks, vectors whole.

    Args:
        tensors: By name; rows of matrices are multiples of 32 long.
        path: Where to.
        kind: A block type of GGUF, e.g. `Q4_0`.
    """
    from gguf import GGMLQuantizationType, GGUFWriter, quants

    writer = GGUFWriter(path, "revive-lab")
    for name, values in tensors.items():
        chosen = GGMLQuantizationType[kind if values.ndim > 1 else "F32"]
        writer.add_tensor(name, quants.quantize(values, chosen), raw_dtype=chosen)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _safetensors(tensors: "Mapping[str, NDArray[np.float32]]") -> bytes:
    """A safetensors file in bfloat16, which numpy has no type for, and so safetensors' own none."""
    from gguf import GGMLQuantizationType, quants

    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    parts: list[bytes] = []
    end = 0
    for name, values in sorted(tensors.items()):
        parts.append(quants.quantize(values, GGMLQuantizationType.BF16).tobytes())
        begin, end = end, end + len(parts[-1])
        header[name] = {"dtype": "BF16", "shape": values.shape, "data_offsets": (begin, end)}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # https://huggingface.co/docs/safetensors: values are aligned
    return b"".join((len(text).to_bytes(8, "little"), text, *parts))
