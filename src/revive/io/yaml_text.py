"""YAML as specs need it: a key given twice is an error, and `1e-3` is a number."""

import re
from collections.abc import Hashable
from typing import Any, cast

import yaml

from revive.errors import SpecError
from revive.io.json_text import DEEPEST, is_deeper

_NUMBER = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+$")

_MOST = 100_000
"""Values that a spec may hold; a few hundred is usual."""


class _Loader(yaml.SafeLoader):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[object] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, Hashable):
                if key in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"key {key!r} is given twice", key_node.start_mark
                    )
                seen.add(key)
        return super().construct_mapping(node, deep)


class _Dumper(yaml.SafeDumper):
    """Quotes what the loader would take for a number."""


# YAML 1.1 wants a dot and a sign in `1.0e-3`; people write `1e-3`.
for _kind in (_Loader, _Dumper):
    _kind.add_implicit_resolver("tag:yaml.org,2002:float", _NUMBER, list("-+.0123456789"))


def parse_yaml(text: str, source: str) -> Any:
    """Parse YAML.

    Args:
        text: The YAML.
        source: Where it comes from, for messages.

    Raises:
        SpecError: It is not YAML; names the line.
    """
    try:
        value = yaml.load(text, Loader=_Loader)  # a SafeLoader
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise SpecError(f"{source}{line}: not valid YAML ({error.problem}).") from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise SpecError(f"{source}: not valid YAML ({reason}).") from error
    if _values(value) > _MOST:
        raise SpecError(
            f"{source}: holds more than {_MOST:,} values; aliases (*name) that stand for each "
            "other grow without end. Write the values out."
        )
    if is_deeper(value, DEEPEST):
        raise SpecError(f"{source}: is nested more than {DEEPEST} levels deep, which no spec is.")
    return value


def _values(value: object) -> int:
    """How many there are once aliases are written out, counted up to a little over the most."""
    count, open_ = 0, [value]
    while open_ and count <= _MOST:
        part = open_.pop()
        count += 1
        if isinstance(part, dict):
            open_.extend(cast("dict[object, object]", part).values())
        elif isinstance(part, list):
            open_.extend(cast("list[object]", part))
    return count


def format_yaml(value: object) -> str:
    """Write plain data as YAML, keys in their order, short lists on one line."""
    return yaml.dump(
        value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=None
    )
