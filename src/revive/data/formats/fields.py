"""Typed access to a record's fields; every refusal names the place, the field and the remedy."""

from collections.abc import Mapping
from typing import cast

from revive.data.edits import Form
from revive.data.formats.records import Record, kind
from revive.errors import SpecError

_FORMS: Mapping[object, Form] = {
    **{None: False, False: False, True: True},
    **{"false": False, "true": True, "both": "both"},
}


def text(record: Record, key: str) -> str:
    """A field that must hold text, with its own white space; empty if it holds nothing else.

    Raises:
        SpecError: It is missing or not text.
    """
    if record.fields.get(key) is None:
        raise SpecError(f"{record.where}: {key} is missing; every edit needs it.")
    return plain(record, record.fields[key], key)


def optional_text(record: Record, key: str) -> str | None:
    """A field that may be missing or null; None if it is, or is blank."""
    value = record.fields.get(key)
    return None if value is None else plain(record, value, key) or None


def identifier(record: Record, key: str) -> str:
    """An id, text or whole number; empty if there is none."""
    value = record.fields.get(key)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return label(record, key) or ""


def label(record: Record, key: str) -> str | None:
    """A name, not a text to be read: trimmed; None if it is missing or blank."""
    found = optional_text(record, key)
    return None if found is None else found.strip()


def form(record: Record) -> Form:
    """The field `chat`: true, false or `both`, also as a table spells them; false if missing.

    Raises:
        SpecError: It is something else.
    """
    value = record.fields.get("chat")
    found = value.strip().lower() if isinstance(value, str) else value
    if isinstance(found, bool | str | None) and found in _FORMS:
        return _FORMS[found]
    raise SpecError(f'{record.where}: chat must be true, false or "both", got {value!r}.')


def texts(record: Record, key: str) -> tuple[str, ...]:
    """A list of texts, a single text, or nothing; blank ones are left out.

    Raises:
        SpecError: It is something else.
    """
    found = [plain(record, item, key) for item in items(record.fields.get(key))]
    return tuple(item for item in found if item)


def child(record: Record, key: str, *, required: bool = False) -> Record:
    """A nested object as a record of its own; an empty one if it is missing.

    Raises:
        SpecError: It is not an object, or is missing though required.
    """
    value = record.fields.get(key)
    if value is None and not required:
        return Record(record.where, record.number, {})
    return nested(record, value, key)


def nested(record: Record, value: object, key: str) -> Record:
    """A value that must be an object, as a record.

    Raises:
        SpecError: It is not.
    """
    if value is None:
        raise SpecError(f"{record.where}: {key} is missing; every edit needs it.")
    if not isinstance(value, dict):
        raise SpecError(f"{record.where}: {key} must be an object, got {kind(value)}.")
    return Record(f"{record.where}, {key}", record.number, cast("Mapping[str, object]", value))


def items(value: object) -> list[object]:
    """A list as it is, nothing as an empty list, anything else as a list of one."""
    if value is None:
        return []
    return cast("list[object]", value) if isinstance(value, list) else [value]


def plain(record: Record, value: object, key: str) -> str:
    """A value that must be text, with its own white space; empty if it holds nothing else.

    Raises:
        SpecError: It is not text.
    """
    if not isinstance(value, str):
        raise SpecError(f"{record.where}: {key} must be text, got {kind(value)}; put it in quotes.")
    return value if value.strip() else ""
