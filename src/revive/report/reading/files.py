"""The files of a run folder, read and checked."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from pydantic import ValidationError

from revive.errors import SpecError
from revive.io.json_text import read_json
from revive.io.signed_json import unsigned
from revive.io.yaml_text import parse_yaml
from revive.report.reading.curves import Summary, numbers
from revive.report.reading.events import Event

Spec = dict[str, Any]


def check_folder(path: Path) -> None:
    """Refuse a folder that is not a run.

    Raises:
        SpecError: `spec.yaml` or `journal.jsonl` is not there.
    """
    missing = [name for name in ("spec.yaml", "journal.jsonl") if not (path / name).is_file()]
    if missing:
        raise SpecError(
            f"{path} is not a run folder: no {' and no '.join(missing)}. Pass a folder that "
            "`revive run` or `revive demo` wrote."
        )


def read_spec(path: Path) -> Spec:
    """Read `spec.yaml`.

    Raises:
        SpecError: Not YAML, or no mapping.
    """
    try:
        loaded: object = parse_yaml(path.read_text(encoding="utf-8"), str(path))
    except UnicodeDecodeError as error:
        raise SpecError(f"{path} is not readable YAML: {' '.join(str(error).split())}.") from error
    if not isinstance(loaded, dict):
        raise SpecError(f"{path} holds no spec: expected a mapping with `model` and `editor`.")
    return cast("Spec", loaded)


def read_summary(path: Path) -> Summary:
    """Read `summary.json`.

    Raises:
        SpecError: Not JSON, or a field of another type.
    """
    try:
        value: Any = read_json(path.read_text(encoding="utf-8"))
        fields, whole = unsigned(value) if isinstance(value, dict) else (value, True)
        summary = Summary.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the top level"
        raise SpecError(f"{path}, {where}: {first['msg']}.") from error
    except ValueError as error:
        raise SpecError(f"{path} is not JSON: {error}.") from error
    if not whole:
        raise SpecError(
            f"{path}: was changed since it was written (its checksum does not fit); 'revive "
            f"resume {path.parent}' writes that of a finished run again."
        )
    return summary


def derive_summary(spec: Spec, events: Sequence[Event]) -> Summary:
    """The summary of a run that is not over, from its journal."""
    batches = [e for e in events if e["event"] == "batch"]
    points: dict[int, dict[str, Any]] = {}
    latest: dict[str, float] = {}
    for event in events:
        if event["event"] == "measure":
            row = _point(event)
            points.setdefault(row["edits"], {}).update(row)
            latest |= numbers(row) if row["edits"] else {}
    before = points.pop(0, {})
    return Summary.model_validate(
        {
            "model": name_in(spec, "model"),
            "editor": name_in(spec, "editor"),
            "guard": name_in(spec, "guard"),
            "edits": sum(len(cast("list[object]", e.get("edits") or [])) for e in batches),
            "batches": len(batches),
            "final": {k: v for k, v in latest.items() if k not in ("edits", "sample")},
            "unedited": {k: v for k, v in numbers(before).items() if k not in ("edits", "sample")},
            "curve": list(points.values()),
        }
    )


def _point(event: Event) -> dict[str, Any]:
    row: dict[str, Any] = dict(cast("dict[str, Any]", event.get("metrics") or {}))
    row |= {key: event[key] for key in ("sample", "retention") if event.get(key)}
    edits = event.get("edits")
    return {**row, "edits": edits if isinstance(edits, int) else 0}


def section_of(spec: Spec, key: str) -> dict[str, Any]:
    """A mapping inside the spec, empty if it is not one."""
    value: object = spec.get(key)
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def name_in(spec: Spec, key: str) -> str:
    """The `name` of a part of the spec, which may also be given as plain text."""
    value: object = spec.get(key)
    return value if isinstance(value, str) else str(section_of(spec, key).get("name", "none"))
