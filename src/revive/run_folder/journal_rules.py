"""What a line of a journal must hold, and where it may stand."""

from collections.abc import Mapping
from typing import Any, cast

Event = Mapping[str, Any]

_TEXTS, _NUMBERS = "a list of texts", "numbers by name"
_FIELDS: dict[str, dict[str, type | str]] = {
    "start": {"edits": int, "edits_fingerprint": str},
    "batch": {"edits": _TEXTS, "made": _TEXTS, "failed": list, "sites": dict, "seconds": _NUMBERS},
    "measure": {"edits": int, "metrics": dict},
    "alarm": {"edits": int, "metric": str, "values": _NUMBERS, "relative": bool, "stop": bool},
}
_OPTIONAL: dict[str, dict[str, type | str]] = {
    "start": {"spec": dict, "identity": str, "model_fingerprint": str, "env": str},
    "batch": {"update": str, "supersedes": dict, "unsolved": dict, "repairs": dict, "notes": dict},
    "measure": {"probes": _TEXTS, "outcomes": dict, "intervals": dict, "retention": list},
    "checkpoint": {"state": str},
    "alarm": {"answers": dict, "table": str},
    "finish": {"answers": dict, "table": str},
}


def wrong_fields(event: Event) -> str:
    """What an event lacks, or has of another type; empty if nothing."""
    kind = event["event"]
    for key, wanted in _FIELDS.get(kind, {}).items():
        if not _is(event.get(key), wanted):
            return f"has no {key!r}" if key not in event else f"has a {key!r} of another type"
    for key, wanted in _OPTIONAL.get(kind, {}).items():
        if event.get(key) is not None and not _is(event[key], wanted):
            return f"has a {key!r} of another type"
    if kind == "rollback":
        return _wrong_rollback(event)
    return _wrong_batch(event) if kind == "batch" else ""


def wrong_order(event: Event, step: int, *, began: bool) -> str:
    """Why an event cannot follow what came before it; empty if it can.

    Args:
        event: The next one.
        step: Number of the last batch that stands.
        began: Whether anything came before it.
    """
    kind, at = event["event"], event["step"]
    if kind == "start":
        return "is a second start" if began else "" if at == 0 else f"starts at {at}"
    if kind == "batch":
        return "" if at == step + 1 else f"is batch {at} after {step}"
    if kind == "rollback" and "to" in event:
        return "" if at <= step else f"goes back to {at} from {step}"
    return "" if at == step else f"is of step {at} after batch {step}"


def _is(value: object, wanted: type | str) -> bool:
    if wanted == _TEXTS:
        texts = cast("list[object]", value)
        return isinstance(value, list) and all(isinstance(text, str) for text in texts)
    if wanted == _NUMBERS:
        values = cast("dict[str, object]", value)
        return isinstance(value, dict) and all(_is_number(number) for number in values.values())
    if wanted is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(wanted, type) and isinstance(value, wanted)


def _is_number(value: object) -> bool:
    named = ("NaN", "Infinity", "-Infinity")
    return value in named or (isinstance(value, int | float) and not isinstance(value, bool))


def _wrong_rollback(event: Event) -> str:
    if "to" in event:
        return "" if event["to"] == event["step"] else "goes to another step than its own"
    if not isinstance(event.get("edit"), str):
        return "has no 'to' and no 'edit'"
    batches: list[object] = [event.get("batch"), *event.get("repairs", ())]
    good = all(_is(batch, int) and 1 <= cast("int", batch) <= event["step"] for batch in batches)
    return "" if good else "has no 'batch' that stands"


def _wrong_batch(event: Event) -> str:
    for failure in event["failed"]:
        # An id alone is what very old journals have.
        if not isinstance(failure, str) and not (
            isinstance(failure, dict) and isinstance(cast("Event", failure).get("id"), str)
        ):
            return "has a 'failed' of another type"
    repairs = event.get("repairs") or {}
    if repairs and not (_is(repairs.get("edits"), _TEXTS) and _is(repairs.get("looked"), int)):
        return "has a 'repairs' of another type"
    known = {*event["edits"], *repairs.get("edits", ())}
    return "" if known.issuperset(event["made"]) else "made edits that are not its own"
