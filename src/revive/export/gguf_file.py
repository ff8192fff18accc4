"""A GGUF file with some of its tensors replaced, every other byte of its content as it was.

The form: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. The metadata are copied as
they stand, so that whatever a newer converter wrote survives; tensors that are not replaced are
copied as they lie, whatever their type.
"""

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from gguf import GGMLQuantizationType, quants
from numpy.typing import NDArray

from revive.errors import SpecError
from revive.export.gguf_types import encoded, size_of
from revive.io.atomic import replacing
from revive.progress import Told
from revive.sources.gguf import Head, Stored, read_head

OURS = "revive."
"""What keys of ours begin with."""

_CHUNK = 1 << 24  # bytes
_UINT32, _STRING = 4, 8  # types of values
_HEAD = 24  # bytes: magic, version, number of tensors, number of keys


@dataclass(frozen=True, slots=True)
class NewTensor:
    """What takes a tensor's place.

    Attributes:
        kind: Its type.
        weight: Its values, `[d_out, d_in]`, fp32; called when it is written.
    """

    kind: GGMLQuantizationType
    weight: Callable[[], NDArray[np.float32]]


def read_original(file: Path, where: str = "model.name") -> Head:
    """The head of a file that tensors can be replaced in.

    Args:
        file: The file.
        where: The setting that names it, for messages.

    Raises:
        SpecError: It is no GGUF file, is cut off, one of several parts, or was edited already.
    """
    head = read_head(file, where)
    if int(head.said.get("split.count") or 0) > 1:
        raise SpecError(
            f"{where}: {file} is one part of several; join them with llama.cpp's "
            "`llama-gguf-split --merge FIRST-PART WHOLE` and name the whole."
        )
    if any(key.startswith(OURS) for key in head.said):
        raise SpecError(
            f"{where}: {file} was written by 'revive export' itself; name the original file."
        )
    if not _whole(file, head):
        raise SpecError(f"{where}: {file} is cut off; get the whole file.")
    return head


def _whole(file: Path, head: Head) -> bool:
    """Whether a file has room for the last of its tensors."""
    last = max(head.tensors.values(), key=lambda stored: stored.offset)
    try:
        size = size_of(last.shape, GGMLQuantizationType(last.kind))
    except ValueError:  # a type that is not known here
        size = 1
    return last.offset + size <= file.stat().st_size


def read_weight(file: Path, head: Head, name: str) -> NDArray[np.float32] | None:
    """A tensor's values, `[d_out, d_in]`; None of a type that the `gguf` package cannot read."""
    stored = head.tensors[name]
    try:
        kind = GGMLQuantizationType(stored.kind)
        shape = tuple(reversed(stored.shape))
        raw = np.fromfile(file, np.uint8, size_of(shape, kind), offset=stored.offset)
        values: NDArray[np.float32] = quants.dequantize(raw, kind)
    except (NotImplementedError, ValueError, KeyError):
        return None
    return values.reshape(shape)


def rewrite(
    source: Path,
    head: Head,
    target: Path,
    tensors: Mapping[str, NewTensor],
    said: Mapping[str, str | int],
    told: Told,
) -> None:
    """Write a file anew, with other values in some of its tensors.

    Args:
        source: The file.
        head: Its head.
        target: Appears whole or not at all.
        tensors: New values by name.
        said: Metadata to add; numbers are stored as unsigned 32-bit.
        told: Called with tensors written.

    Raises:
        PrerequisiteError: The disk is full.
    """
    added = b"".join(_pair(key, value) for key, value in said.items())
    ends = _ends(source, head)
    places, infos = _laid_out(head, ends, tensors)
    with source.open("rb") as old, replacing(target) as partial, partial.open("wb") as new:
        start = old.read(_HEAD)
        count = struct.unpack_from("<Q", start, _HEAD - 8)[0]
        new.write(start[:-8] + struct.pack("<Q", count + len(said)))
        _copy(old, new, *head.metadata)
        new.write(added + infos)
        first = _padded(new.tell(), head.alignment)
        for number, (name, place) in enumerate(places.items()):
            new.write(bytes(first + place - new.tell()))
            if name in tensors:
                new.write(encoded(tensors[name].weight(), tensors[name].kind))
            else:
                _copy(old, new, head.tensors[name].offset, ends[name])
            told("writing tensors", number + 1, len(places))
        new.write(bytes(_padded(new.tell() - first, head.alignment) + first - new.tell()))


def _laid_out(
    head: Head, ends: Mapping[str, int], tensors: Mapping[str, NewTensor]
) -> tuple[dict[str, int], bytes]:
    """Where every tensor goes, counted from the first, and the table that says so."""
    places: dict[str, int] = {}
    infos: dict[str, bytes] = {}
    at = 0
    for name in ends:
        stored, new = head.tensors[name], tensors.get(name)
        size = ends[name] - stored.offset if new is None else size_of(stored.shape, new.kind)
        places[name] = at
        infos[name] = _info(name, stored, stored.kind if new is None else new.kind, at)
        at += _padded(size, head.alignment)
    return places, b"".join(infos[name] for name in head.tensors)


def _ends(file: Path, head: Head) -> dict[str, int]:
    """Where the space of every tensor ends, in the file's order.

    It is told by where the next one begins: types that are not known here have no size.
    """
    order = sorted(head.tensors, key=lambda name: head.tensors[name].offset)
    begins = [head.tensors[name].offset for name in order]
    return dict(zip(order, [*begins[1:], file.stat().st_size], strict=True))


def _info(name: str, stored: Stored, kind: int, place: int) -> bytes:
    shape = struct.pack(f"<I{len(stored.shape)}Q", len(stored.shape), *stored.shape)
    return _text(name) + shape + struct.pack("<IQ", kind, place)


def _pair(key: str, value: str | int) -> bytes:
    if isinstance(value, str):
        return _text(key) + struct.pack("<I", _STRING) + _text(value)
    return _text(key) + struct.pack("<II", _UINT32, value)


def _text(text: str) -> bytes:
    content = text.encode("utf-8")
    return struct.pack("<Q", len(content)) + content


def _padded(size: int, step: int) -> int:
    return -(-size // step) * step


def _copy(old: BinaryIO, new: BinaryIO, begin: int, end: int) -> None:
    old.seek(begin)
    left = end - begin
    while left > 0:
        chunk = old.read(min(left, _CHUNK))
        if not chunk:
            raise SpecError(f"{old.name} became shorter while it was read; call the same again.")
        new.write(chunk)
        left -= len(chunk)
