"""Commands whose paths may begin with `~`."""

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, cast

from revive.paths import at_home


def with_home(command: Callable[..., None]) -> Callable[..., None]:
    """The command, with every path among its arguments made whole before it sees it."""

    @wraps(command)
    def called(**given: Any) -> None:
        command(**{name: _whole(value) for name, value in given.items()})

    return called


def _whole(value: object) -> object:
    if isinstance(value, list):
        return [_whole(part) for part in cast("list[object]", value)]
    return at_home(value) if isinstance(value, Path) else value
