"""Records of a file, each with its place: JSON Lines, a JSON array, or CSV with a header."""

import csv
import io
import json
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from revive.data.formats.bad_lines import Bad
from revive.errors import SpecError
from revive.paths import at_home, refuse_special

_DECODER = json.JSONDecoder()
_DELIMITERS = (",", "\t", ";")
_EDIT = "edit"


@dataclass(frozen=True, slots=True)
class Record:
    """One record as it stands in a file.

    Attributes:
        where: Its place for messages, e.g. `edits.jsonl, line 12`.
        number: Position among the records, from 1.
        fields: Its content.
        tabular: Whether it is a row of a table; all its fields are text then.
    """

    where: str
    number: int
    fields: Mapping[str, object]
    tabular: bool = False


def read_text(path: str | Path, *, what: str = _EDIT) -> str:
    """The text of a file.

    Args:
        path: The file.
        what: What it holds, in the singular, for messages.

    Raises:
        SpecError: It is missing, a folder, empty, unreadable, or not UTF-8.
    """
    file = at_home(path)
    if file.is_dir():
        raise SpecError(f"{path}: is a folder, expected a file of {what}s; name the file in it.")
    refuse_special(file)
    if not file.exists():
        setting = " (edits.path)" if what == _EDIT else ""
        raise SpecError(f"{path}: no such file; check the path{setting}.")
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = file.read_bytes()[: error.start].count(b"\n") + 1
        raise SpecError(
            f"{path}, line {line}: not UTF-8 text ({error.reason}); save the file as UTF-8."
        ) from error
    except OSError as error:
        raise SpecError(f"{path}: cannot be read ({error.strerror}).") from error
    if not text.strip():
        raise SpecError(f"{path}: is empty; expected at least one {what}.")
    return text


def read_records(path: str | Path, bad: Bad | None = None) -> list[Record]:
    """Every record of a file; its kind is seen from its first character.

    Args:
        path: The file.
        bad: Takes the records that are malformed, and reading goes on; None refuses the first.

    Raises:
        SpecError: The file cannot be read or a record is malformed; names the line.
    """
    text = read_text(path)
    first = text.lstrip()[0]
    name = str(path)
    if first == "[":
        records = list(_from_array(text, name, bad))
    elif first == "{":
        records = list(_from_lines(text, name, bad))
    else:
        records = list(_from_table(text, name, bad))
    if not records and bad is not None:
        bad.refuse(name)
    if not records:
        raise SpecError(f"{path}: holds no records; expected at least one edit.")
    return records


def read_objects(path: str | Path, *, what: str) -> list[Record]:
    """Every record of a JSON Lines file or a JSON array.

    Args:
        path: The file.
        what: What it holds, in the singular, for messages.

    Raises:
        SpecError: The file cannot be read or a record is malformed; names the line.
    """
    text = read_text(path, what=what)
    array = text.lstrip().startswith("[")
    records = list((_from_array if array else _from_lines)(text, str(path)))
    if not records:
        raise SpecError(f"{path}: holds no records; expected at least one {what}.")
    return records


def _from_lines(text: str, name: str, bad: Bad | None = None) -> Iterator[Record]:
    whole = _whole_object(text)
    if whole is not None:
        yield Record(name, 1, whole)
        return
    number = 0
    for line, content in enumerate(text.split("\n"), start=1):
        if not content.strip():
            continue
        where = f"{name}, line {line}"
        number += 1
        with _noting(bad):
            yield Record(where, number, _object(_line(content, where), where))


def _line(content: str, where: str) -> object:
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise SpecError(
            f"{where}: not valid JSON ({_reason(error)}); JSON Lines holds one object per line."
        ) from error


def _whole_object(text: str) -> Mapping[str, object] | None:
    """The one object that a file is, spread over lines; None if it is none."""
    if "\n" not in text.strip():
        return None
    try:
        value: object = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return cast("dict[str, object]", value) if isinstance(value, dict) else None


def _noting(bad: Bad | None) -> AbstractContextManager[None]:
    return nullcontext() if bad is None else bad.noting()


def _from_array(text: str, name: str, bad: Bad | None = None) -> Iterator[Record]:
    """Elements one by one, so that a broken one has a line number."""
    position, line, number = text.index("[") + 1, 1, 0
    counted = 0
    while True:
        position = _skip(text, position)
        if text[position : position + 1] == "]" and not text[position + 1 :].strip():
            return
        line, counted = line + text.count("\n", counted, position), position
        where = f"{name}, line {line} (record {number + 1})"
        try:
            value, position = cast("tuple[object, int]", _DECODER.raw_decode(text, position))
        except (ValueError, RecursionError) as error:
            raise SpecError(f"{where}: not valid JSON ({_reason(error)}).") from error
        number += 1
        with _noting(bad):
            yield Record(where, number, _object(value, where))
        position = _skip(text, position)
        if text[position : position + 1] == ",":
            position += 1
        elif text[position : position + 1] != "]":
            raise SpecError(f"{where}: not valid JSON (no ',' or ']' after the record).")


def _from_table(text: str, name: str, bad: Bad | None = None) -> Iterator[Record]:
    header_line = text.lstrip().split("\n", 1)[0]
    delimiter = max(_DELIMITERS, key=header_line.count)
    rows = csv.reader(
        io.StringIO(text, newline=""), delimiter=delimiter, strict=True, skipinitialspace=True
    )
    header: list[str] = []
    number, line = 0, 1
    try:
        for row in rows:
            where, line = f"{name}, line {line}", rows.line_num + 1
            if not any(cell.strip() for cell in row):
                continue
            if not header:
                header = _header(row, where)
                continue
            number += 1
            with _noting(bad):
                if len(row) != len(header):
                    raise SpecError(
                        f"{where}: {len(row)} cells, but the header has {len(header)}; quote "
                        f"cells that hold {delimiter!r}."
                    )
                cells = zip(header, row, strict=True)
                yield Record(where, number, {k: v for k, v in cells if v.strip()}, tabular=True)
    except csv.Error as error:
        raise SpecError(f"{name}, line {rows.line_num}: not valid CSV ({error}).") from error


def _header(row: list[str], where: str) -> list[str]:
    header = [cell.strip() for cell in row]
    if len(set(header)) != len(header):
        raise SpecError(f"{where}: the header names a column twice; rename one.")
    if not {"prompt", "subject", "target_new"} <= set(header):
        raise SpecError(
            f"{where}: neither JSON nor a table of edits; JSON starts with '{{' or '[', and a CSV "
            "file needs a header with at least prompt, subject and target_new."
        )
    return header


def _object(value: object, where: str) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise SpecError(f"{where}: expected an object with named fields, got {kind(value)}.")
    return cast("dict[str, object]", value)


def kind(value: object) -> str:
    """What a JSON value is, in words."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, str):
        return "text"
    return "a list" if isinstance(value, list) else "an object"


def _skip(text: str, position: int) -> int:
    while position < len(text) and text[position] in " \t\r\n":
        position += 1
    return position


def _reason(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return error.msg
    # Python reads no whole number of more digits.
    return "nested too deeply" if isinstance(error, RecursionError) else "a number too long"
