"""Edits that say the same thing twice, or two things of one prompt."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from revive.data.edits import Edit
from revive.data.latest_edits import Fact, fact_of
from revive.errors import SpecError

OnConflict = Literal["error", "last", "sequence"]
"""What becomes of edits that contradict each other: they are refused; the last one wins before
anything is edited; or all are made, and the last one wins in time, as in a deployed model."""


@dataclass(frozen=True, slots=True)
class LocatedEdit:
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
    """A record whose target replaces that of an earlier one for the same subject and prompt.

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
    """The edits to be made, and what was done about repeats and contradictions."""

    edits: tuple[Edit, ...]
    duplicates: tuple[Repeat, ...]
    conflicts: tuple[Conflict, ...]


def settle(placed: Sequence[LocatedEdit], *, limit: int | None, on_conflict: OnConflict) -> Settled:
    """Drop exact repeats and settle contradictions.

    An edit that wins stands at its own place, not at that of the one it replaces: it would be
    made at that time. In a sequence, a repeat is an edit that says what its fact's latest one says.

    Args:
        placed: All edits, in order.
        limit: Stop once there are so many.
        on_conflict: Whether contradicting edits are refused, the last of them is kept, or all are.

    Raises:
        SpecError: Edits contradict each other and are refused.
    """
    latest: dict[Fact, int] = {}
    kept: list[LocatedEdit] = []
    duplicates: list[Repeat] = []
    conflicts: list[Conflict] = []
    for item in placed:
        key = fact_of(item.edit)
        earlier = kept[latest[key]] if key in latest else None
        if earlier is not None and _same_target(earlier.edit, item.edit):
            duplicates.append(Repeat(item.edit.id, item.where, earlier.where))
            kept[latest[key]] = _with_chains(earlier, item)
            continue
        in_sequence = on_conflict == "sequence"
        full = limit is not None and limit == (len(kept) if in_sequence else len(latest))
        if full and (earlier is None or in_sequence):
            break
        if earlier is not None:
            conflicts.append(_conflict(earlier, item))
        latest[key] = len(kept)
        kept.append(item)
    if conflicts and on_conflict == "error":
        raise SpecError(_refusal(conflicts))
    if conflicts and on_conflict == "last":
        kept = [kept[place] for place in sorted(latest.values())]
    return Settled(tuple(p.edit for p in kept), tuple(duplicates), tuple(conflicts))


def _same_target(one: Edit, other: Edit) -> bool:
    return one.target_new.strip() == other.target_new.strip()


def _with_chains(kept: LocatedEdit, repeat: LocatedEdit) -> LocatedEdit:
    """The chains of facts that a repeat carries are about the edit that is kept."""
    known = kept.edit.multi_hop
    new = tuple(chain for chain in repeat.edit.multi_hop if chain not in known)
    return replace(kept, edit=replace(kept.edit, multi_hop=(*known, *new))) if new else kept


def _conflict(earlier: LocatedEdit, later: LocatedEdit) -> Conflict:
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
        "(edits.on_conflict: last); sequence makes them all, one after the other."
    )
