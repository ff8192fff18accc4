"""In which of GGUF's types a weight is written. No torch.

Block types round to a grid of a few bits a value. A weight that stands on such a grid already, as
a dequantised one does, falls back onto it where an update is smaller than half a step: written in
the type that it came in, most of an edit can be gone. F16 keeps eleven bits of every value.
"""

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, quants
from numpy.typing import NDArray

from revive.errors import SpecError

Kind = GGMLQuantizationType

DEFAULT = Kind.F16
"""What keeps an edit: docs/deployment.md has the measurements."""

BLOCKS = (Kind.Q4_0, Kind.Q4_1, Kind.Q5_0, Kind.Q5_1, Kind.Q8_0)
"""Block types that the `gguf` package writes and llama.cpp computes with everywhere."""
_WHOLE = (Kind.F32, Kind.F16, Kind.BF16)
_NAMES = {"float32": Kind.F32, "float16": Kind.F16, "bfloat16": Kind.BF16}

_F16_MOST = 65_504.0


def kind_of(name: str) -> Kind:
    """The type of a name: `float16`, `q8_0`, ...

    Raises:
        SpecError: It is none that can be written.
    """
    known = {**_NAMES, **{kind.name.lower(): kind for kind in (*_WHOLE, *BLOCKS)}}
    if name.lower() not in known:
        raise SpecError(f"--dtype: {name!r} cannot be written to GGUF; use one of {_told(known)}.")
    return known[name.lower()]


def bits(kind: Kind) -> float:
    """Bits a value, scales included."""
    values, size = GGML_QUANT_SIZES[kind]
    return 8 * size / values


def writable(kind: Kind) -> Kind:
    """The type itself where it can be written, else the smallest one that takes more bits a value.

    K-quants and importance-weighted types are read, but not written, by the `gguf` package.
    """
    if kind in (*_WHOLE, *BLOCKS):
        return kind
    wider = [other for other in BLOCKS if bits(other) > bits(kind)]
    return min(wider, key=bits) if wider else DEFAULT


def fitting(kind: Kind, weight: NDArray[np.float32]) -> Kind:
    """The type, or the next one in which a weight has room.

    Rows that are no whole number of blocks are written as F16, values too large for F16 as F32.
    """
    if weight.shape[-1] % GGML_QUANT_SIZES[kind][0]:
        kind = DEFAULT
    return Kind.F32 if kind is Kind.F16 and float(np.abs(weight).max()) > _F16_MOST else kind


def encoded(weight: NDArray[np.float32], kind: Kind) -> bytes:
    """A weight as it lies in a file, rounded once."""
    return quants.quantize(np.ascontiguousarray(weight), kind).tobytes()


def rounded(weight: NDArray[np.float32], kind: Kind) -> NDArray[np.float32]:
    """A weight as it is read from a file that it was written to."""
    raw = quants.quantize(np.ascontiguousarray(weight), kind)
    return quants.dequantize(raw, kind).reshape(weight.shape)


def size_of(shape: tuple[int, ...], kind: Kind) -> int:
    """Bytes of a tensor."""
    values, size = GGML_QUANT_SIZES[kind]
    return int(np.prod(shape)) // values * size


def _told(known: dict[str, Kind]) -> str:
    return ", ".join(name for name in known if name not in ("f32", "f16", "bf16"))
