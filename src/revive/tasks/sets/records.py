"""Records of a test set, each with its place, and typed access to their fields."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from revive.data.formats.records import Record, kind, read_objects, read_text
from revive.errors import SpecError

_WHAT = "test item"


def objects(path: Path) -> list[Record]:
    """Records of a JSON Lines file or of a JSON array.

    Raises:
        SpecError: The file cannot be read, or is not JSON of that form.
    """
    return read_objects(path, what=_WHAT)


def table(path: Path) -> list[tuple[str, list[str]]]:
    """Rows of a CSV file, each with its place.

    Raises:
        SpecError: The file cannot be read.
    """
    rows = csv.reader(io.StringIO(read_text(path, what=_WHAT), newline=""))
    found: list[tuple[str, list[str]]] = []
    line = 1
    try:
        for row in rows:
            where, line = f"{path}, line {line}", rows.line_num + 1
            if any(cell.strip() for cell in row):
                found.append((where, row))
    except csv.Error as error:
        raise SpecError(f"{path}, line {rows.line_num}: not valid CSV ({error}).") from error
    return found


def raw(record: Record, key: str) -> str:
    """A field that must hold text, as it is.

    Raises:
        SpecError: It is missing, not text, or blank.
    """
    value = record.fields.get(key)
    if not isinstance(value, str) or not value.strip():
        found = kind(value) if not isinstance(value, str) else "blank text"
        raise SpecError(f"{record.where}: {key} must be text, got {found}.")
    return value


def text(record: Record, key: str) -> str:
    """A field that must hold text, stripped; errors as `raw`."""
    return raw(record, key).strip()


def texts(record: Record, key: str) -> tuple[str, ...]:
    """A field that must be a list of at least two texts, stripped.

    Raises:
        SpecError: It is not.
    """
    value = record.fields.get(key)
    items = cast("list[object]", value) if isinstance(value, list) else []
    found = tuple(item.strip() for item in items if isinstance(item, str))
    if len(found) < 2 or len(found) != len(items):
        raise SpecError(f"{record.where}: {key} must be a list of at least two texts.")
    return found


def one_of(record: Record, key: str, names: Sequence[object]) -> int:
    """Position of a field's value among names; numbers may be written as text.

    Raises:
        SpecError: It is none of them.
    """
    value = record.fields.get(key)
    wanted = str(value).strip() if isinstance(value, str | int) else None
    spelled = [str(name) for name in names]
    if wanted not in spelled:
        raise SpecError(f"{record.where}: {key} must be one of {', '.join(spelled)}.")
    return spelled.index(wanted)
