"""Why edits did not take, as far as a run's journal knows. No torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from revive.metrics.per_edit import Cause, EditRow
from revive.run_folder.summary import removed, standing


@dataclass(frozen=True, slots=True)
class Why:
    """A reason.

    Attributes:
        cause: In short.
        text: In words.
    """

    cause: Cause
    text: str


def known_reasons(events: Sequence[Mapping[str, Any]]) -> dict[str, tuple[Why, ...]]:
    """By id of an edit, what speaks against it, the strongest reason first.

    Args:
        events: A journal's; batch lines of older versions say less.
    """
    found: dict[str, tuple[Why, ...]] = {}
    for event in standing(events):
        if event["event"] != "batch":
            continue
        unsolved, withheld = event.get("unsolved") or {}, event.get("withheld") or {}
        for failure in event.get("failed") or ():
            # An id alone is what very old journals have.
            named = failure if isinstance(failure, dict) else {"id": failure}
            why = Why("failed", str(named.get("reason", "no reason recorded")))
            found[str(named.get("id", ""))] = (why,)
        again = (event.get("repairs") or {}).get("edits", ())
        for edit in event.get("made") or ():
            against: list[Why] = []
            if edit in unsolved:
                loss = float(unsolved[edit])
                against.append(Why("unsolved", f"its target was not solved (loss {loss:.3g})"))
            if edit in withheld:
                share = float(withheld[edit])
                against.append(Why("withheld", f"the guard took out {share:.0%} of its update"))
            if edit in again:
                # What its first batch had against it does not count any more.
                against.append(Why("weak", "it was made again, and still does not answer"))
            if against:
                found[edit] = tuple(against)
    for edit in removed(events):
        found[edit] = (Why("removed", "taken out by 'revive rollback'"),)
    return found


def too_weak(events: Sequence[Mapping[str, Any]]) -> frozenset[str]:
    """Edits whose target was solved, so that what was written must be too weak if they fail."""
    batches = (e for e in standing(events) if e["event"] == "batch")
    return frozenset(
        edit
        for event in batches
        if "unsolved" in event and "target_solved" in event.get("notes", {})
        for edit in event["made"]
        if edit not in event["unsolved"]
    )


WEAK = Why("weak", "its target was solved, but what was written does not carry it")


def explained(row: EditRow, reasons: Sequence[Why]) -> EditRow:
    """The row with its reasons, if it did not take or could not have been asked."""
    final = any(why.cause in ("failed", "removed") for why in reasons)
    if not reasons or not (final or row.reached is False):
        return row
    return replace(row, cause=reasons[0].cause, reason="; ".join(why.text for why in reasons))


def advice(causes: Mapping[Cause, int], strength: str, step: str = "lr") -> str:
    """What may help most of the edits that did not take; empty where nothing is known to.

    Args:
        causes: How many did not take, by cause.
        strength: The editor's setting that trades edit success for what is kept.
        step: Its setting of how far a target's optimisation goes in one step.
    """
    helps: dict[Cause, str] = {
        "unsolved": f"a larger editor.{step}, or more editor.steps, solves more targets",
        "withheld": "a smaller guard.energy, or guard.solve=constrained, lets more through",
        "weak": f"a smaller editor.{strength} writes edits stronger",
        "lost": f"fewer edits, or a larger editor.{strength}, keep the early ones better",
        "shared": "edits of one subject interfere less in batches of their own",
    }
    known = [(count, helps[cause]) for cause, count in causes.items() if cause in helps]
    return max(known)[1] if known else ""
