"""Safetensors files that say what they are, and whether they are whole.

Metadata holds the run, the kind, the step, and a checksum of every tensor; the seal is a checksum
of the header, and so of all of it. Whoever knows the seal (the journal does) knows the file; a part
of a file is checked without reading the rest.

The file is written here, not by the library: in the library's layout, but in a fixed order, so that
equal tensors make equal files, and without a second temporary file, which a kill would leave. The
checksum is XXH3, which is no protection against malice; it costs a tenth of the write.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import xxhash

from revive.errors import SpecError
from revive.io.atomic import replacing
from revive.io.json_text import read_json

_SIZES = {"F64": 8, "I64": 8, "F32": 4, "I32": 4, "BF16": 2, "F16": 2, "I16": 2}  # others: 1
_LARGEST_HEADER = 100_000_000  # the library's own limit
_SUMS = "sums"


class DamagedError(SpecError):
    """A file of a run that is not what it was when it was written.

    Attributes:
        path: Which.
        what: The damage, as the end of a sentence that begins with the path.
    """

    def __init__(self, path: Path, what: str, remedy: str = "", place: str = "") -> None:
        """Take what is wrong with a file, what to do, and where in the file it is."""
        remedy = remedy or (
            "restore it from a copy, or go back to a batch before it with 'revive rollback RUN "
            "--to STEP'; 'revive verify RUN' says which."
        )
        super().__init__(f"{path}{place}: {what}; {remedy}")
        self.path = path
        self.what = what


@dataclass(frozen=True)
class Identity:
    """What a file must be.

    Attributes:
        run: Digest of what the run computes; the same for two runs of one spec on the same edits
            and model. Empty where that was not kept.
        kind: `update`, `checkpoint` or `outcomes`.
        step: The batch.
    """

    run: str
    kind: str
    step: int

    def metadata(self) -> dict[str, str]:
        """As a file holds it."""
        return {"run": self.run, "kind": self.kind, "step": str(self.step)}


@dataclass(frozen=True)
class Values:
    """One tensor's values as a file holds them: safetensors' name of the dtype, shape, bytes."""

    dtype: str
    shape: tuple[int, ...]
    data: memoryview


def write_sealed(path: Path, values: Mapping[str, Values], about: Mapping[str, str]) -> str:
    """Write a file as a whole.

    Returns:
        Its seal.

    Raises:
        PrerequisiteError: The disk is full.
    """
    # The library's order: wide types first, so that every tensor is aligned.
    names = sorted(values, key=lambda name: (-_SIZES.get(values[name].dtype, 1), name))
    sums = {name: checksum(values[name].data) for name in names}
    head: dict[str, Any] = {"__metadata__": {**about, _SUMS: json.dumps(sums)}}
    end = 0
    for name in names:
        start, end = end, end + values[name].data.nbytes
        shape = list(values[name].shape)
        head[name] = {"dtype": values[name].dtype, "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(head, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
    text += b" " * (-len(text) % 8)
    with replacing(path) as partial, partial.open("wb", buffering=0) as file:
        _write(file.fileno(), len(text).to_bytes(8, "little") + text)
        for name in names:
            _write(file.fileno(), values[name].data)
    return checksum(text)


def _write(descriptor: int, data: bytes | memoryview) -> None:
    left = memoryview(data).cast("B") if data else memoryview(b"")
    while left:
        left = left[os.write(descriptor, left) :]


@dataclass(frozen=True)
class Header:
    """What a file says of itself.

    Attributes:
        about: Its metadata.
        sums: Checksum by tensor; None where the file keeps none, as those of older versions.
        seal: Checksum of the header.
    """

    about: Mapping[str, str]
    sums: Mapping[str, str] | None
    seal: str


def read_header(path: Path) -> Header:
    """Read what a file says of itself.

    Raises:
        DamagedError: It is missing, or no such file.
    """
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            text = file.read(length) if length <= _LARGEST_HEADER else b""
    except FileNotFoundError as error:
        raise DamagedError(path, "is missing") from error
    except OSError as error:
        raise DamagedError(path, f"cannot be read ({error.strerror})") from error
    try:
        about = cast("dict[str, str]", read_json(text).get("__metadata__") or {})
        sums = read_json(about[_SUMS]) if _SUMS in about else None
    except (ValueError, AttributeError, TypeError) as error:
        raise DamagedError(path, "is damaged (its header is not readable)") from error
    return Header(about, sums, checksum(text))


def check_header(path: Path, header: Header, identity: Identity, seal: str | None) -> None:
    """Refuse another file than the one that was written.

    Args:
        path: The file, for the message.
        header: Of the file.
        identity: What it must be.
        seal: What the journal says; None where it says nothing.

    Raises:
        DamagedError: It is another one; says which, where it is known.
    """
    about = header.about
    if header.sums is None:
        if seal is not None:
            raise DamagedError(path, "has no checksums, and the journal knows it with them")
        return
    wanted = identity.metadata()
    for key, told in (("kind", "is of kind"), ("step", "is of batch")):
        if about.get(key) != wanted[key]:
            found = str(about.get(key))[:40]
            raise DamagedError(path, f"{told} {found}, not {wanted[key]}: files were swapped")
    if identity.run and about.get("run") != identity.run:
        raise DamagedError(path, "belongs to another run")
    if seal is not None and header.seal != seal:
        raise DamagedError(path, "is not the file that the journal speaks of")


def check_values(path: Path, header: Header, name: str, data: memoryview) -> None:
    """Refuse values that are not those that were written.

    Raises:
        DamagedError: They are not.
    """
    if header.sums is not None and header.sums.get(name) != checksum(data):
        raise DamagedError(path, f"is damaged (the checksum of {name} does not fit)")


def refuse_link(path: Path) -> None:
    """Refuse a symbolic link: what it points at is no part of a run.

    Raises:
        SpecError: It is one.
    """
    if path.is_symlink():
        raise DamagedError(
            path,
            "is a symbolic link, which is never followed inside a run folder",
            "put the file itself there. A run folder as a whole may be a link.",
        )


def checksum(data: bytes | memoryview) -> str:
    """Of bytes, in 32 hexadecimal digits."""
    return xxhash.xxh3_128_hexdigest(data)
