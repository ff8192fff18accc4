"""All metrics in one table: reports, `revive list metrics` and the documentation read it."""

from collections.abc import Mapping
from types import MappingProxyType

from revive.metrics.ability import ABILITY
from revive.metrics.drift import DRIFT
from revive.metrics.editing import EDITING
from revive.metrics.generation import GENERATION
from revive.metrics.metric import OURS, Metric

_RUN = (Metric("seconds", "Seconds", "Wall-clock time of the whole run.", "s", "lower", OURS),)

GROUPS: Mapping[str, tuple[Metric, ...]] = MappingProxyType(
    {
        "Edits": EDITING,
        "Generated text": GENERATION,
        "Other abilities": ABILITY,
        "Edited weights": DRIFT,
        "The run": _RUN,
    }
)

METRICS: Mapping[str, Metric] = MappingProxyType(
    {m.name: m for group in GROUPS.values() for m in group}
)


def registered(name: str) -> Metric | None:
    """The metric of a name, or the one whose form it has; None if there is none."""
    if name in METRICS:
        return METRICS[name]
    forms = (m for m in METRICS.values() if m.name.endswith("*"))
    return next((m for m in forms if name.startswith(m.name[:-1])), None)


def metric(name: str) -> Metric:
    """The registered metric, or a plain one without a direction for a third party's name."""
    known = registered(name)
    if known is not None and known.name == name:
        return known
    title = name.replace("_", " ").capitalize()
    if known is not None:
        return Metric(name, title, known.definition, known.unit, known.direction, known.source)
    told = "Reported by a probe from another package."
    return Metric(name, title, told, "none", "none", "another package")
