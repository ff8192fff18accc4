"""Edits that say the same thing twice, or two things of one prompt."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from revive.data.edits import Edit
from revive.errors import SpecError


@dataclass(frozen=True, slots=True)
class Placed:
    """An edit and where it stands."""

    edit: Edit
    where: str


@dataclass(frozen=True, slots=True)
class Repeat:
    """A record that was dropped because it says what an earlier one says."""

    id: str
    where: str
    first: str


@dataclass(frozen=True, slots=True)
class Conflict:
    """A record whose target replaced that of an earlier one for the same subject and prompt.

    Attributes:
        subject: The subject of both.
        prompt: The prompt of both.
        replaced: The earlier target.
        target: The later target.
        first: Where the earlier one stands.
        where: Where the later one stands.
    """

    subject: str
    prompt: str
    replaced: str
    target: str
    first: str
    where: str


@dataclass(frozen=True, slots=True)
class Settled:
    """Distinct edits, and what was done to make them so."""

    edits: tuple[Edit, ...]
    duplicates: tuple[Repeat, ...]
    conflicts: tuple[Conflict, ...]


def settle(placed: Sequence[Placed], *, limit: int | None, keep_last: bool) -> Settled:
    """Drop exact repeats and settle contradictions.

    An edit that wins stands at its own place, not at that of the one it replaces: it would be
    made at that time.

    Args:
        placed: All edits, in order.
        limit: Stop once so many distinct edits are found.
        keep_last: Whether the last of contradicting edits wins; otherwise they are refused.

    Raises:
        SpecError: Edits contradict each other and `keep_last` is not set.
    """
    kept: dict[tuple[str, str], Placed] = {}
    duplicates: list[Repeat] = []
    conflicts: list[Conflict] = []
    for item in placed:
        key = (item.edit.subject, item.edit.text)
        earlier = kept.get(key)
        if earlier is None:
            if limit is not None and len(kept) == limit:
                break
        elif earlier.edit.target_new == item.edit.target_new:
            duplicates.append(Repeat(item.edit.id, item.where, earlier.where))
            kept[key] = _with_chains(earlier, item)
            continue
        else:
            conflicts.append(_conflict(earlier, item))
            del kept[key]
        kept[key] = item
    if conflicts and not keep_last:
        raise SpecError(_refusal(conflicts))
    return Settled(tuple(p.edit for p in kept.values()), tuple(duplicates), tuple(conflicts))


def _with_chains(kept: Placed, repeat: Placed) -> Placed:
    """The chains of facts that a repeat carries are about the edit that is kept."""
    known = kept.edit.multi_hop
    new = tuple(chain for chain in repeat.edit.multi_hop if chain not in known)
    return replace(kept, edit=replace(kept.edit, multi_hop=(*known, *new))) if new else kept


def _conflict(earlier: Placed, later: Placed) -> Conflict:
    return Conflict(
        subject=later.edit.subject,
        prompt=later.edit.text,
        replaced=earlier.edit.target_new,
        target=later.edit.target_new,
        first=earlier.where,
        where=later.where,
    )


def _refusal(conflicts: Sequence[Conflict]) -> str:
    first = conflicts[0]
    more = f" ({len(conflicts)} such contradictions in all)" if len(conflicts) > 1 else ""
    return (
        f"{first.where}: {first.prompt!r} shall be {first.target!r}, but {first.first} says "
        f"{first.replaced!r}{more}. Remove one, or let the last one win: --on-conflict last "
        "(edits.on_conflict: last)."
    )
