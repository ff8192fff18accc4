"""JSON files that hold a checksum of themselves."""

from collections.abc import Mapping
from typing import Any

from revive.io.json_text import to_json
from revive.io.sealed import checksum

CHECKSUM = "checksum"


def signed(value: Mapping[str, object]) -> dict[str, Any]:
    """The same with its checksum."""
    return {**value, CHECKSUM: _sum(value)}


def unsigned(value: Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
    """What was signed, and whether it is still that; older files have no checksum and count."""
    rest = {key: entry for key, entry in value.items() if key != CHECKSUM}
    return rest, CHECKSUM not in value or value[CHECKSUM] == _sum(rest)


def _sum(value: Mapping[str, object]) -> str:
    return checksum(to_json(value).encode("utf-8"))
