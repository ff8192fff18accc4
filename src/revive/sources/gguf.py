"""What a GGUF file says of its model, read from its head alone. No torch, and no weight is read.

The form: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. The `gguf` package reads every
token of the vocabulary as an array of its own, which takes seconds, and transformers' reader
imports torch; `revive check` has neither.
"""

import math
import struct
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten
from typing import Any, BinaryIO

from revive.errors import SpecError

_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q"}
_NUMBERS[12] = "d"
_STRING, _ARRAY = 8, 9
_VERSIONS = (2, 3)
_ALIGNMENT = 32  # bytes, where a file does not say
_LARGEST = 10**9  # of any size that is said of a model
_WRONG = (
    *(OSError, ValueError, ArithmeticError, LookupError, struct.error, MemoryError),
    RecursionError,
)


@dataclass(frozen=True, slots=True)
class Stored:
    """A tensor of a file: the number of its type, its shape, and where it begins.

    The shape is as the file has it: the length of a row first.
    """

    kind: int
    shape: tuple[int, ...]
    offset: int


@dataclass(frozen=True, slots=True)
class Head:
    """What stands before the values of a GGUF file.

    Attributes:
        said: Metadata by key; of arrays the length alone.
        tensors: By llama.cpp's names.
        version: Of the form.
        metadata: Where the metadata begin and end, in bytes.
        alignment: Every tensor begins at a multiple of so many bytes.
    """

    said: Mapping[str, Any]
    tensors: Mapping[str, Stored]
    version: int
    metadata: tuple[int, int]
    alignment: int

    @property
    def architecture(self) -> str:
        """llama.cpp's name of it."""
        return str(self.said.get("general.architecture", ""))

    def get(self, key: str) -> Any:
        """What is said of the architecture, e.g. `rope.scaling.type`; None for nothing."""
        return self.said.get(f"{self.architecture}.{key}")

    def count(self, key: str) -> int | None:
        """A size, e.g. `block_count`; None where nothing is said.

        Raises:
            SpecError: It is none, or larger than any model's.
        """
        value = self.get(key)
        if value is None or (type(value) is int and 0 <= value <= _LARGEST):
            return value
        raise self._odd(key, value, f"a whole number of at most {_LARGEST:,}")

    def number(self, key: str) -> float | None:
        """A positive number, e.g. `rope.freq_base`; None where nothing is said.

        Raises:
            SpecError: It is none.
        """
        value = self.get(key)
        if value is None or (type(value) in (int, float) and 0 < value < math.inf):
            return value
        raise self._odd(key, value, "a positive number")

    def _odd(self, key: str, value: object, wanted: str) -> SpecError:
        shown = shorten(repr(value), 40, placeholder=" ...")
        return SpecError(
            f"model: the GGUF file says {shown} of {self.architecture[:40]}.{key}, expected "
            f"{wanted}; the file is damaged, get it again."
        )


def read_head(file: Path, where: str = "model.name") -> Head:
    """The head of a GGUF file.

    Args:
        file: The file.
        where: The setting that names it, for messages.

    Raises:
        SpecError: It is no GGUF file, or is cut off.
    """
    with _reading(file, where), file.open("rb") as opened:
        return _read(opened, file, where)


def read_floats(file: Path, stored: Stored) -> tuple[float, ...]:
    """A small tensor that is stored whole, as float32.

    Raises:
        SpecError: The file does not hold it.
    """
    with _reading(file, "model.name"), file.open("rb") as opened:
        opened.seek(stored.offset)
        return _take(opened, f"{math.prod(stored.shape)}f")


@contextmanager
def _reading(file: Path, where: str) -> Generator[None, None, None]:
    """Tell what goes wrong with a file's numbers as that: lengths and places may be anything.

    Raises:
        SpecError: It is no GGUF file, or is cut off.
    """
    try:
        yield
    except SpecError:
        raise
    except _WRONG as error:
        raise SpecError(f"{where}: {file} is cut off, or no GGUF file ({error}).") from error


def _read(head: BinaryIO, file: Path, where: str) -> Head:
    if head.read(4) != b"GGUF":
        raise SpecError(f"{where}: {file} is no GGUF file; it does not begin as one.")
    version, tensors, count = _take(head, "IQQ")
    if version not in _VERSIONS:
        raise SpecError(f"{where}: {file} is of GGUF version {version}; known are 2 and 3.")
    begin = head.tell()
    found: dict[str, Any] = {}
    for _ in range(count):
        key = _string(head)
        (kind,) = _take(head, "I")
        found[key] = _value(head, kind)
    end = head.tell()
    entries: list[tuple[str, int, tuple[int, ...], int]] = []
    for _ in range(tensors):
        name = _string(head)
        (dimensions,) = _take(head, "I")
        *shape, kind, offset = _take(head, f"{dimensions}QIQ")
        entries.append((name, kind, tuple(shape), offset))
    step = found.get("general.alignment", _ALIGNMENT)
    if type(step) is not int or step < 1:
        raise SpecError(f"{where}: {file} is damaged: its general.alignment is no size.")
    first = -(-head.tell() // step) * step
    stored = {n: Stored(kind, shape, first + o) for n, kind, shape, o in entries}
    return Head(found, stored, version, (begin, end), step)


def _value(head: BinaryIO, kind: int) -> Any:
    if kind == _STRING:
        return _string(head)
    if kind != _ARRAY:
        return _take(head, _NUMBERS[kind])[0]
    of, count = _take(head, "IQ")
    if of == _STRING:
        for _ in range(count):
            head.seek(_take(head, "Q")[0], 1)
    elif of == _ARRAY:
        for _ in range(count):
            _value(head, _ARRAY)
    else:
        head.seek(count * struct.calcsize(f"<{_NUMBERS[of]}"), 1)
    return count


def _take(head: BinaryIO, form: str) -> tuple[Any, ...]:
    return struct.unpack(f"<{form}", head.read(struct.calcsize(f"<{form}")))


def _string(head: BinaryIO) -> str:
    return head.read(_take(head, "Q")[0]).decode("utf-8")
