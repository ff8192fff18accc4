"""What is wrong with a spec, in one line: what, where, what to do."""

import re
import types
from collections.abc import Sequence
from typing import Any, Literal, Union, cast, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails, PydanticUndefined

from revive.data.formats.records import kind
from revive.errors import SpecError
from revive.registry import did_you_mean

_EXPECTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "string_type": "text",
    "bool_type": "true or false",
    "list_type": "a list, as in [a, b]",
    "model_type": "a mapping, as in {key: value}",
    "model_attributes_type": "a mapping, as in {key: value}",
}

_BRANCH = re.compile(r"(list|literal)\[.*\]|one-share|by-site|whole|by-module")


def complaint(
    error: ValidationError,
    model: type[BaseModel],
    source: str,
    prefix: str = "",
    known: Sequence[str] | None = None,
) -> SpecError:
    """The first problem as an error for the user, with the number of the others.

    Args:
        error: What pydantic found.
        model: The model that was validated.
        source: The file, for the start of the message.
        prefix: Where the validated part stands in the spec, e.g. `editor`.
        known: Keys to propose instead of an unknown one; the model's, if not given.
    """
    problems = error.errors(include_url=False)
    # An unknown key usually is the cause of a missing one.
    first = min(problems, key=lambda p: p["type"] != "extra_forbidden")
    places = [part for part in first["loc"] if not _is_branch(part)]
    where = ".".join([*([prefix] if prefix else []), *(str(part) for part in places)])
    more = len({p["loc"][: len(first["loc"])] for p in problems}) - 1
    also = f" ({more} more after this)" if more else ""
    located = f"{source}: {where}" if where else source
    return SpecError(f"{located}: {_what(first, model, places, known)}{also}")


def _what(
    problem: ErrorDetails,
    model: type[BaseModel],
    places: Sequence[str | int],
    others: Sequence[str] | None,
) -> str:
    key = str(places[-1]) if places else ""
    found: object = problem["input"]
    if problem["type"] == "extra_forbidden":
        known = others or tuple(_walk(model, places[:-1])[0].model_fields)
        return f"unknown key {key!r}.{did_you_mean(key, known)} Known: {', '.join(known)}."
    if problem["type"] == "missing":
        return f"is missing; add `{key}: ...`."
    if problem["type"] == "value_error":
        return f"{problem['msg'].removeprefix('Value error, ')}."
    if problem["type"] == "literal_error":
        choices = [str(c) for c in _choices(_walk(model, places)[1])]
        hint = did_you_mean(found, choices) if isinstance(found, str) else ""
        return f"{_shown(found)} is not one of {', '.join(choices)}.{hint}"
    expected = _EXPECTED.get(problem["type"])
    if expected is None:
        return f"{problem['msg'].replace('Input should', 'must')}, got {_shown(found)}."
    shown = f" {found!r}" if isinstance(found, str | int | float) else ""
    return f"expected {expected}, got {kind(found)}{shown}.{_example(_walk(model, places)[1], key)}"


def _shown(found: object) -> str:
    """A value in a sentence, which one that holds others would not fit."""
    return repr(found) if isinstance(found, str | int | float | None) else kind(found)


def _example(field: FieldInfo | None, key: str) -> str:
    default: object = PydanticUndefined if field is None else field.default
    if isinstance(default, str | int | float):
        shown = str(default).lower() if isinstance(default, bool) else default
        return f" For example `{key}: {shown}`."
    return ""


def _walk(
    model: type[BaseModel], places: Sequence[str | int]
) -> tuple[type[BaseModel], FieldInfo | None]:
    """The field at a location, and the model inside it, or else the last one on the way."""
    field: FieldInfo | None = None
    for place in places:
        if isinstance(place, str):
            field = model.model_fields.get(place)
            model = next(iter(_models(field.annotation)), model) if field else model
    return model, field


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) in (list, Union, types.UnionType):
        return [m for inner in get_args(annotation) for m in _models(inner)]
    return []


def _choices(field: FieldInfo | None) -> tuple[object, ...]:
    return () if field is None else tuple(_literals(field.annotation))


def _literals(annotation: Any) -> list[object]:
    """All values of the literals in a type, wherever they are."""
    inner = cast("tuple[object, ...]", get_args(annotation))
    if get_origin(annotation) is Literal:
        return list(inner)
    return [value for part in inner for value in _literals(part)]


def _is_branch(place: str | int) -> bool:
    """Pydantic names the branch of a union in the location, e.g. `list[str]`."""
    return isinstance(place, str) and _BRANCH.fullmatch(place) is not None
