"""Changes to a spec from the command line: `--set guard.energy=0.2`."""

from collections.abc import Sequence
from typing import Any, cast

from revive.errors import SpecError
from revive.io.yaml_text import parse_yaml

_SHORT = {"model": "name", "editor": "name", "guard": "name", "edits": "path"}


def apply_overrides(spec: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Set values by dotted keys; parts of a list by their number, from 0.

    Args:
        spec: The spec as plain data.
        overrides: `key.key=value`, the value in YAML.

    Returns:
        A changed copy.

    Raises:
        SpecError: An override has no `=`, or leads nowhere.
    """
    for override in overrides:
        path, equals, text = override.partition("=")
        keys = path.strip().split(".")
        if not equals or not all(keys):
            raise SpecError(
                f"--set {override}: expected key=value, for example --set guard.energy=0.2."
            )
        value = parse_yaml(text, f"--set {override}")
        spec = cast("dict[str, Any]", _changed(spec, keys, value, override, ""))
    return spec


def _changed(part: object, keys: Sequence[str], value: object, override: str, where: str) -> object:
    if not keys:
        return value
    key, rest = keys[0], keys[1:]
    if isinstance(part, list):
        items = cast("list[object]", part)
        if not (key.isascii() and key.isdigit()) or int(key) >= len(items):
            raise SpecError(
                f"--set {override}: {where} is a list of {len(items)}; use a number from 0 "
                f"instead of {key!r}."
            )
        changed = list(items)
        changed[int(key)] = _changed(items[int(key)], rest, value, override, f"{where}.{key}")
        return changed
    if isinstance(part, str):
        # `guard: revive` is short for `guard: {name: revive}`.
        part = {_SHORT.get(where.partition(".")[0], "name"): part}
    if part is not None and not isinstance(part, dict):
        raise SpecError(f"--set {override}: {where} is a value and holds no {key!r}.")
    fields = cast("dict[str, object]", part or {})
    inner = f"{where}.{key}" if where else key
    return {**fields, key: _changed(fields.get(key), rest, value, override, inner)}
