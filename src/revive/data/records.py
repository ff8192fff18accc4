"""Records of a file, each with its place: JSON Lines, a JSON array, or CSV with a header."""

import csv
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from revive.errors import SpecError
from revive.paths import at_home

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


def read_records(path: str | Path) -> list[Record]:
    """Every record of a file; its kind is seen from its first character.

    Raises:
        SpecError: The file cannot be read or a record is malformed; names the line.
    """
    text = read_text(path)
    first = text.lstrip()[0]
    name = str(path)
    if first == "[":
        records = list(_from_array(text, name))
    elif first == "{":
        records = list(_from_lines(text, name))
    else:
        records = list(_from_table(text, name))
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


def _from_lines(text: str, name: str) -> Iterator[Record]:
    number = 0
    for line, content in enumerate(text.split("\n"), start=1):
        if not content.strip():
            continue
        where = f"{name}, line {line}"
        try:
            value: object = json.loads(content)
        except (json.JSONDecodeError, RecursionError) as error:
            raise SpecError(
                f"{where}: not valid JSON ({_reason(error)}); JSON Lines holds one object per line."
            ) from error
        number += 1
        yield Record(where, number, _object(value, where))


def _from_array(text: str, name: str) -> Iterator[Record]:
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
        except (json.JSONDecodeError, RecursionError) as error:
            raise SpecError(f"{where}: not valid JSON ({_reason(error)}).") from error
        number += 1
        yield Record(where, number, _object(value, where))
        position = _skip(text, position)
        if text[position : position + 1] == ",":
            position += 1
        elif text[position : position + 1] != "]":
            raise SpecError(f"{where}: not valid JSON (no ',' or ']' after the record).")


def _from_table(text: str, name: str) -> Iterator[Record]:
    header_line = text.lstrip().split("\n", 1)[0]
    delimiter = max(_DELIMITERS, key=header_line.count)
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
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
            if len(row) != len(header):
                raise SpecError(
                    f"{where}: {len(row)} cells, but the header has {len(header)}; quote cells "
                    f"that hold {delimiter!r}."
                )
            number += 1
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
    return error.msg if isinstance(error, json.JSONDecodeError) else "nested too deeply"
