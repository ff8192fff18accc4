"""Which probes are due at a step, and what they found as one line of the journal."""

from collections.abc import Mapping, Sequence
from typing import Any

from revive import registry
from revive.probes.base import Measurement, Probe
from revive.spec.parsing import probe_settings
from revive.spec.schema import ProbeSpec


def make_probe(spec: ProbeSpec) -> Probe:
    """The probe a spec names, with its settings."""
    return registry.load("probes", spec.name)(**probe_settings(spec))


def measured_at(step: int, events: Sequence[Mapping[str, Any]]) -> set[str]:
    """Names of the probes that have measured the model as it stands after a step."""
    measured: set[str] = set()
    for event in events:
        if event["event"] == "measure" and event["step"] == step:
            measured.update(event["probes"])
        elif "edit" in event:
            # Without that edit the model is another one.
            measured.clear()
    return measured


def line_of(found: Sequence[Measurement], *, edited: bool) -> dict[str, Any]:
    """What the journal holds of measurements taken at one step; of no other fields than it needs.

    Args:
        found: By probe. Where two know a metric, the later one's counts.
        edited: Whether anything was edited, so that there is something to retain.
    """
    metrics: dict[str, float] = {}
    intervals: dict[str, list[float]] = {}
    sites: dict[str, dict[str, Any]] = {}
    for taken in found:
        metrics.update(taken.metrics)
        intervals.update({name: list(ends) for name, ends in taken.intervals.items()})
        for key, values in taken.sites.items():
            sites.setdefault(key, {}).update(values)
    samples = [taken.sample for taken in found if taken.sample is not None]
    return {
        "metrics": metrics,
        "sample": samples[-1] if samples else None,
        "retention": [dict(row) for taken in found for row in taken.retention] if edited else [],
        **({"sites": sites} if sites else {}),
        **({"intervals": intervals} if intervals else {}),
    }
