"""What can be named in a spec: editors, guards, model families, datasets, probes, tasks, sinks.

Built-ins are the table of `revive.built_in`, which works from a source tree. Other packages add
theirs through the entry-point groups `revive.editors`, `revive.guards`, `revive.models`,
`revive.datasets`, `revive.probes`, `revive.tasks` and `revive.sinks`. A built-in cannot be
replaced: a stored spec must mean the same thing on every machine.
"""

import difflib
import importlib
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal, get_args

from revive.built_in import BUILT_IN
from revive.errors import PrerequisiteError, SpecError

Group = Literal["editors", "guards", "models", "datasets", "probes", "tasks", "sinks"]

GROUPS: tuple[Group, ...] = get_args(Group)
DISTRIBUTION = "revive-edit"


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that can be named.

    Attributes:
        name: The name to write in a spec.
        paper: Where it comes from, e.g. `arXiv:2210.07229`; empty where it has no paper.
        summary: One line.
        origin: The distribution that brings it.
    """

    name: str
    paper: str
    summary: str
    origin: str


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`" Did you mean 'memit'?"`, or nothing if no known name is close."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" Did you mean {close[0]!r}?" if close else ""


def names(group: Group) -> tuple[str, ...]:
    """Every name of a group: built-ins in a fixed order, then others by name."""
    return (*BUILT_IN[group], *sorted(_foreign(group)))


def is_builtin(group: Group, name: str) -> bool:
    """Whether a name is one of ours."""
    return name in BUILT_IN[group]


def origin(group: Group, name: str) -> str:
    """The distribution that brings a name.

    Raises:
        SpecError: The name is unknown.
    """
    require(group, name)
    return DISTRIBUTION if is_builtin(group, name) else _origin(_foreign(group)[name])


def require(group: Group, name: str) -> None:
    """Check that a name exists, without importing what it names.

    Raises:
        SpecError: It does not.
    """
    known = names(group)
    if name not in known:
        raise SpecError(
            f"Unknown {group[:-1]} {name!r}.{did_you_mean(name, known)} Known: {', '.join(known)}."
        )


def load(group: Group, name: str) -> Any:
    """Import what a name stands for.

    Raises:
        SpecError: The name is unknown, or two distributions claim it.
        PrerequisiteError: It cannot be imported.
    """
    require(group, name)
    if is_builtin(group, name):
        module, _, attribute = BUILT_IN[group][name].target.partition(":")
        return getattr(importlib.import_module(module), attribute)
    point = _foreign(group)[name]
    try:
        return point.load()
    except (ImportError, AttributeError) as error:
        raise PrerequisiteError(
            f"{group[:-1]} {name!r} of distribution {_origin(point)!r} cannot be imported "
            f"({error}). Install what it needs, or uninstall it."
        ) from error


def describe(group: Group) -> list[Entry]:
    """One entry per name. Imports only what other packages bring."""
    entries = [Entry(n, b.paper, b.summary, DISTRIBUTION) for n, b in BUILT_IN[group].items()]
    for name, point in sorted(_foreign(group).items()):
        try:
            found: object = load(group, name)
        except PrerequisiteError as error:
            entries.append(Entry(name, "", str(error), _origin(point)))
            continue
        paper, summary = (str(getattr(found, key, "")) for key in ("paper", "summary"))
        entries.append(Entry(name, paper, summary, _origin(point)))
    return entries


def _foreign(group: Group) -> dict[str, EntryPoint]:
    """Entry points of other distributions, refused where a name is taken."""
    found: dict[str, EntryPoint] = {}
    for point in entry_points(group=f"revive.{group}"):
        origin = _origin(point)
        if origin == DISTRIBUTION:
            continue
        if is_builtin(group, point.name):
            holder = DISTRIBUTION
        elif point.name in found and _origin(found[point.name]) != origin:
            holder = _origin(found[point.name])
        else:
            found[point.name] = point
            continue
        raise SpecError(
            f"Two distributions provide the {group[:-1]} {point.name!r}: {holder!r} and "
            f"{origin!r}. Uninstall one of them, or ask {origin!r} to rename its own."
        )
    return found


def _origin(point: EntryPoint) -> str:
    if point.dist is None:
        return "unknown"
    return point.dist.name.lower().replace("_", "-")
