"""The points a study has measured: one JSON object a line, so that an interrupted study goes on.

The first line says what was studied; a file of another model, other sites or other settings is
refused rather than mixed in. A line torn by a kill never counted and is cut off. No torch.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from revive.errors import SpecError
from revive.io.atomic import disk_full, is_disk_full
from revive.io.json_text import named, numbers, read_json

Values = dict[str, float]


class PointLog:
    """Measured values by the name of their point; in memory only if no path is given."""

    def __init__(self, path: Path | None, head: Mapping[str, Any]) -> None:
        """Open, and read what is there.

        Args:
            path: The file; made with its folder if it is not there.
            head: What is studied: plain data, compared with the file's first line.

        Raises:
            SpecError: The file is of another study, or a whole line of it is damaged.
            PrerequisiteError: The disk is full.
        """
        self._path = path
        self._values: dict[str, Values] = {}
        if path is None:
            return
        # As JSON keeps it: tuples are lists there.
        wanted = read_json(json.dumps(named(dict(head))))
        lines = _whole_lines(path)
        if not lines:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._append(wanted)
            return
        found = _parsed(path, 1, lines[0])
        different = [k for k in sorted({*wanted, *found}) if wanted.get(k) != found.get(k)]
        if different:
            raise SpecError(
                f"{path} holds points of another study: {', '.join(different)} differ. Give "
                "another --out, or delete the file."
            )
        for number, line in enumerate(lines[1:], start=2):
            row = _parsed(path, number, line)
            if not isinstance(row.get("point"), str) or not isinstance(row.get("values"), dict):
                raise SpecError(f"{path}, line {number}: no point; delete the file to begin anew.")
            self._values[row["point"]] = numbers(row["values"])

    def __contains__(self, point: str) -> bool:
        """Whether the point was measured."""
        return point in self._values

    def __getitem__(self, point: str) -> Values:
        """What was measured there."""
        return self._values[point]

    def add(self, point: str, values: Mapping[str, float]) -> None:
        """Record a point; it is on the disk when this returns."""
        if self._path is not None:
            self._append({"point": point, "values": named(dict(values))})
        self._values[point] = dict(values)

    def _append(self, row: Mapping[str, Any]) -> None:
        if self._path is None:
            return
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            if is_disk_full(error):
                raise disk_full(self._path) from error
            raise


def _whole_lines(path: Path) -> list[str]:
    content = path.read_bytes() if path.is_file() else b""
    size = content.rfind(b"\n") + 1
    if size < len(content):
        os.truncate(path, size)
    return content[:size].decode("utf-8", errors="replace").splitlines()


def _parsed(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        row: object = read_json(line)
    except ValueError:
        row = None
    if not isinstance(row, dict):
        raise SpecError(f"{path}, line {number}: not a JSON object; delete the file to begin anew.")
    return cast("dict[str, Any]", row)
