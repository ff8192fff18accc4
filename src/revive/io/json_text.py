"""JSON that keeps numbers which are not finite: as "NaN", "Infinity" and "-Infinity".

JSON has no such numbers. A library that writes null instead makes a resumed run differ from an
undisturbed one, and the runs studied here are exactly those that produce them.
"""

import json
import math
from collections.abc import Mapping
from typing import Any, cast

DEEPEST = 100
"""Levels of nesting that a file may have; a dozen is usual."""

_NAMES = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def to_json(value: object, *, indent: int | None = None) -> str:
    """Encode plain data.

    Raises:
        TypeError: Something in it is not plain data.
    """
    return json.dumps(named(value), indent=indent, ensure_ascii=False, allow_nan=False)


def read_json(text: str | bytes) -> Any:
    """Decode JSON from a file that may be anybody's.

    Raises:
        ValueError: It is none, or is nested deeper than any file of ours or others is: whoever
            walks through it, encodes it again for instance, does so by recursion.
    """
    try:
        value = json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    # Counting costs nothing beside decoding; walking through a long journal would.
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    if data.count(b"[") + data.count(b"{") > DEEPEST and is_deeper(value, DEEPEST):
        raise ValueError("nested too deeply")
    return value


def is_deeper(value: object, most: int) -> bool:
    """Whether plain data is nested deeper than so many levels."""
    open_ = [(value, 0)]
    while open_:
        part, depth = open_.pop()
        if depth > most:
            return True
        if isinstance(part, dict):
            values = cast("dict[object, object]", part).values()
            open_.extend((inner, depth + 1) for inner in values)
        elif isinstance(part, list):
            open_.extend((inner, depth + 1) for inner in cast("list[object]", part))
    return False


def named(value: object) -> object:
    """The same data with non-finite numbers as their names."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, Mapping):
        return {k: named(v) for k, v in cast("Mapping[str, object]", value).items()}
    if isinstance(value, list | tuple):
        return [named(v) for v in cast("list[object]", value)]
    return value


def numbers(value: Any) -> Any:
    """The same data with names of non-finite numbers as numbers. Only where all leaves are."""
    if isinstance(value, str):
        return _NAMES.get(value, value)
    if isinstance(value, dict):
        return {k: numbers(v) for k, v in cast("dict[str, Any]", value).items()}
    if isinstance(value, list):
        return [numbers(v) for v in cast("list[Any]", value)]
    return value
