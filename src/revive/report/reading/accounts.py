"""Bookkeeping from batch events: what the guard removed, what failed, where time went."""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

from revive.report.reading.curves import numbers
from revive.report.reading.events import Event

_EXPERT = re.compile(r"\[\d+\]$")
BLOCKS = ("uk_vk", "uk_rest", "rest_vk", "rest_rest")


@dataclass(frozen=True, slots=True)
class SiteAccount:
    """What a guard did at one site, over all batches.

    Attributes:
        site: Parameter name.
        asked: Root sum of squares of the Frobenius norms that the editor asked for.
        applied: The same for what was written.
        removed: Share of the asked energy removed, by block; batches weigh by their energy.
        leak: Largest share of a written change's energy that fell into the protected blocks after
            rounding, if recorded.
        rank: Number of protected directions in the last batch, if recorded.
    """

    site: str
    asked: float
    applied: float
    removed: dict[str, float]
    leak: float | None
    rank: int | None

    @property
    def removed_total(self) -> float:
        """Share of the asked energy that was removed."""
        return sum(self.removed.values())


@dataclass(frozen=True, slots=True)
class Failure:
    """An edit that could not be made."""

    id: str
    reason: str


def site_accounts(events: Iterable[Event]) -> tuple[SiteAccount, ...]:
    """Add up the guard's bookkeeping, one account a site, in order of first appearance.

    The experts of a layer, of which there may be hundreds, have one account together.
    """
    rows: dict[str, list[dict[str, object]]] = {}
    for event in events:
        sites: object = event.get("sites")
        if event["event"] != "batch" or not isinstance(sites, dict):
            continue
        for site, row in cast("dict[str, object]", sites).items():
            if isinstance(row, dict):
                rows.setdefault(_EXPERT.sub("[...]", site), []).append(
                    cast("dict[str, object]", row)
                )
    return tuple(_account(site, batches) for site, batches in rows.items())


def _account(site: str, batches: list[dict[str, object]]) -> SiteAccount:
    asked = applied = 0.0
    energy = dict.fromkeys(BLOCKS, 0.0)
    leaks: list[float] = []
    rank: int | None = None
    for row in batches:
        values = numbers(row)
        weight = _finite(values.get("asked")) ** 2
        asked += weight
        applied += _finite(values.get("applied")) ** 2
        removed = numbers(row.get("removed"))
        for block in BLOCKS:
            energy[block] += weight * _finite(removed.get(block))
        if "leak" in values:
            leaks.append(values["leak"])
        if "rank" in values and math.isfinite(values["rank"]):
            rank = int(values["rank"])
    shares = {b: (e / asked if asked > 0 else 0.0) for b, e in energy.items()}
    leak = max(leaks, key=lambda x: math.inf if math.isnan(x) else x) if leaks else None
    return SiteAccount(site, math.sqrt(asked), math.sqrt(applied), shares, leak, rank)


def _finite(value: float | None) -> float:
    return value if value is not None and math.isfinite(value) else 0.0


def failures(events: Iterable[Event]) -> tuple[Failure, ...]:
    """Every edit that failed, in order."""
    found: list[Failure] = []
    for event in events:
        listed: object = event.get("failed")
        if event["event"] != "batch" or not isinstance(listed, list):
            continue
        for entry in cast("list[object]", listed):
            if isinstance(entry, dict):
                row = cast("dict[str, object]", entry)
                found.append(Failure(str(row.get("id", "")), str(row.get("reason", ""))))
            else:
                found.append(Failure(str(entry), "no reason recorded"))
    return tuple(found)


def phase_seconds(events: Iterable[Event]) -> dict[str, float]:
    """Seconds by phase, added up over batches and measurements."""
    total: dict[str, float] = {}
    for event in events:
        spent: dict[str, float] = {}
        if event["event"] == "batch":
            spent = numbers(event.get("seconds"))
        elif event["event"] == "measure":
            spent = numbers({"probe": event.get("seconds")})
        for phase, seconds in spent.items():
            total[phase] = total.get(phase, 0.0) + _finite(seconds)
    return total
