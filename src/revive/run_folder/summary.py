"""`summary.json`, derived from the journal alone."""

from collections.abc import Mapping, Sequence
from heapq import heappop, heappush
from typing import Any, cast

from revive.spec.schema import RunSpec

SCHEMA = 1

NO_METRICS = frozenset({"edits", "sample", "superseded", "intervals"})
"""Keys of a row of the curve that say what was measured, not what was found."""


def summarise(spec: RunSpec, run: str, events: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The summary of a run's journal; batches that were rolled back do not count."""
    counted = standing(events)
    made = [e for e in counted if e["event"] == "batch"]
    curve: dict[int, dict[str, Any]] = {}
    unedited: dict[str, float] = {}
    unsure: dict[str, Any] = {}
    retention: list[Any] = []
    probing = 0.0
    for event in counted:
        if event["event"] != "measure":
            continue
        probing += event.get("seconds", 0.0)
        if event["step"] == 0:
            unedited.update(event["metrics"])
            unsure.update(event.get("intervals") or {})
            continue
        row = curve.setdefault(event["edits"], {"edits": event["edits"]})
        row.update(event["metrics"])
        if event.get("intervals"):
            row.setdefault("intervals", {}).update(event["intervals"])
        if event.get("sample") is not None:
            row["sample"] = event["sample"]
        if event.get("superseded"):
            row["superseded"] = event["superseded"]
        retention = event.get("retention") or retention
    seconds: dict[str, float] = {}
    for event in made:
        for phase, value in event["seconds"].items():
            seconds[phase] = seconds.get(phase, 0.0) + value
    seconds["probe"] = probing
    rows = [curve[n] for n in sorted(curve)]
    final: dict[str, float] = {}
    spread: dict[str, Any] = {}
    for row in rows:
        final.update({k: v for k, v in row.items() if k not in NO_METRICS})
        spread.update(row.get("intervals", {}))
    # A run that was resumed is several processes: each told of itself whenever it kept its state.
    peaks = {
        key: max((e[key] for e in events if e.get(key)), default=0)
        for key in ("peak_memory_bytes", "peak_gpu_memory_bytes")
    }
    summary: dict[str, Any] = {
        "schema": SCHEMA,
        "run": run,
        "model": spec.model.name,
        "editor": spec.editor.name,
        "guard": spec.guard.title,
        "edits": sum(len(e["edits"]) for e in made),
        "batches": len(made),
        "failed": sum(_id(f) in e["edits"] for e in made for f in e["failed"]),
        "removed": len(removed(events)),
        "final": final,
        "unedited": unedited,
        "intervals": {"final": spread, "unedited": unsure},
        "curve": rows,
        "retention": retention,
        "seconds": {"total": sum(seconds.values()), **seconds},
        "peak_memory_bytes": peaks["peak_memory_bytes"],
    }
    if peaks["peak_gpu_memory_bytes"]:
        summary["peak_gpu_memory_bytes"] = peaks["peak_gpu_memory_bytes"]
    repaired = sum(len(e["repairs"]["edits"]) for e in made if "repairs" in e)
    if spec.repair is not None:
        summary["repaired"] = repaired
    answers = [e for e in counted if e.get("answers") or e["event"] == "rollback"]
    if answers and answers[-1]["event"] != "rollback":
        summary["answers"] = answers[-1]["answers"]
    alarms = [e for e in counted if e["event"] == "alarm"]
    if alarms:
        kept = ("edits", "metric", "values", "relative", "stop")
        summary["alarm"] = {key: alarms[-1][key] for key in kept}
    if spec.label is not None:
        summary["label"] = spec.label
    if spec.role is not None:
        summary["role"] = spec.role
    return summary


def ended_at(events: Sequence[Mapping[str, Any]]) -> float:
    """When a run last came to an end, or was stopped by its alarm; 0 if it never did."""
    ends = [e["time"] for e in events if e["event"] in ("finish", "alarm")]
    return ends[-1] if ends else 0.0


def _id(failure: object) -> str:
    # An id alone is what very old journals have.
    return str(cast("dict[str, object]", failure)["id"] if isinstance(failure, dict) else failure)


def failed(events: Sequence[Mapping[str, Any]]) -> set[str]:
    """Ids of edits that could not be made in a batch that stands."""
    return {_id(f) for e in standing(events) if e["event"] == "batch" for f in e["failed"]}


def removed(events: Sequence[Mapping[str, Any]]) -> frozenset[str]:
    """Ids of edits that were taken out of a batch that stands."""
    return frozenset(
        e["edit"] for e in standing(events) if e["event"] == "rollback" and e.get("edit")
    )


def standing(events: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Events that were not undone by a later rollback.

    What was measured at the step at which an edit was taken out counts as undone too: without that
    edit the model is another one.
    """
    stands = [True] * len(events)
    # Every event goes in once and out once, however many rollbacks there are.
    latest_first: list[tuple[int, int]] = []
    measures: dict[int, list[int]] = {}
    for index, event in enumerate(events):
        if event["event"] == "rollback":
            while latest_first and -latest_first[0][0] > event["step"]:
                stands[heappop(latest_first)[1]] = False
            for measure in measures.pop(event["step"], ()) if event.get("edit") else ():
                stands[measure] = False
        elif event["event"] == "measure":
            measures.setdefault(event["step"], []).append(index)
        # An edit's removal falls with its batch, not with the step it was asked at.
        heappush(latest_first, (-event.get("batch", event["step"]), index))
    return [event for event, stood in zip(events, stands, strict=True) if stood]
