"""Whether edits and model are those that a run began with."""

import logging
from collections.abc import Iterator, Sequence
from textwrap import shorten
from typing import Any, cast

from revive.data.readers import LoadedEdits
from revive.errors import SpecError
from revive.io.json_text import numbers, to_json
from revive.io.sealed import checksum
from revive.models.fingerprint import is_model, is_sample
from revive.models.loading import LoadedModel
from revive.run_folder.journal import Event
from revive.run_folder.store import RunFolder
from revive.spec.parsing import editor_options, parse_stored_spec
from revive.spec.resolve import whole_guard
from revive.spec.schema import EditorSpec, GuardSpec, RunSpec

_LOG = logging.getLogger(__name__)

_FREE = ("label", "role", "sinks", "checkpoint", "alarm")
"""Change nothing of what is computed."""
_MOVABLE = ("edits.path", "model.name", "model.device", "model.device_map")
"""May lie elsewhere now; edits and model are known by their fingerprints."""
_TOLD = 5


def check_edits(run: RunFolder, events: Sequence[Event], edits: LoadedEdits) -> None:
    """Refuse other edits than the run began with.

    Raises:
        SpecError: They are others.
    """
    for event in events:
        if event["event"] == "start" and event["edits_fingerprint"] != edits.fingerprint:
            raise SpecError(
                f"{run.path}: the edit file has changed since the run began; restore it, or start "
                "a new run."
            )


def spec_record(spec: RunSpec) -> dict[str, Any]:
    """What a run's first line keeps of its spec: all that its results depend on."""
    editor = EditorSpec(
        name=spec.editor.name, preset=spec.editor.preset, **editor_options(spec.editor).model_dump()
    )
    # What `none` was given beside its name changes nothing, and spec.yaml does not keep it.
    guard = GuardSpec(name="none") if spec.guard.title == "none" else spec.guard
    whole = spec.model_copy(update={"editor": editor, "guard": whole_guard(guard)})
    return whole.model_dump(exclude=set(_FREE))


def check_spec(run: RunFolder, events: Sequence[Event], spec: RunSpec) -> None:
    """Refuse other settings than the run began with. Runs of older versions keep no record.

    Raises:
        SpecError: They are others; names them.
    """
    for event in events:
        if event["event"] != "start" or "spec" not in event:
            continue
        # Read as a spec, so that settings of later versions have their defaults.
        began = spec_record(parse_stored_spec(numbers(event["spec"]), str(run.journal)))
        differing = list(_differing(began, spec_record(spec), ""))
        if differing:
            more = len(differing) - _TOLD
            told = ", ".join(differing[:_TOLD]) + (f", and {more} more" if more > 0 else "")
            raise SpecError(
                f"{run.spec}: has changed since the run began: {told}; put it back, or start a new "
                "run."
            )


def _differing(began: object, now: object, where: str) -> Iterator[str]:
    if isinstance(began, dict) and isinstance(now, dict):
        old, new = cast("dict[str, object]", began), cast("dict[str, object]", now)
        for key in dict.fromkeys((*old, *new)):
            inner = f"{where}.{key}" if where else key
            if inner not in _MOVABLE:
                yield from _differing(old.get(key), new.get(key), inner)
    elif isinstance(began, list) and isinstance(now, list) and len(began) == len(now):  # pyright: ignore[reportUnknownArgumentType]
        pairs = zip(cast("list[object]", began), cast("list[object]", now), strict=True)
        for number, (one, other) in enumerate(pairs):
            yield from _differing(one, other, f"{where}.{number}")
    elif began != now:
        yield f"{where} was {_short(began)} and is {_short(now)}"


def _short(value: object) -> str:
    return shorten(to_json(value), 60, placeholder=" ...")


def run_identity(record: dict[str, Any], edits: str, model: str) -> str:
    """Digest of what a run computes; the same for two runs of one spec on one stream and model.

    Args:
        record: Of the spec, see `spec_record`.
        edits: The stream's fingerprint.
        model: The model's.
    """
    kept = {key: value for key, value in _flat(record, "") if key not in _MOVABLE}
    return checksum(to_json([kept, edits, model]).encode("utf-8"))


def _flat(value: object, where: str) -> Iterator[tuple[str, object]]:
    if not isinstance(value, dict):
        yield where, value
        return
    for key, inner in cast("dict[str, object]", value).items():
        yield from _flat(inner, f"{where}.{key}" if where else key)


def check_model(run: RunFolder, events: Sequence[Event], loaded: LoadedModel) -> None:
    """Refuse another model than the run began with.

    Raises:
        SpecError: It is another one.
    """
    began = next((e for e in events if e["event"] == "start"), {})
    known = began.get("model_fingerprint") or run.read_env().get("model_fingerprint")
    if known is None or known == loaded.fingerprint:
        return
    if loaded.quantized and is_sample(known):
        _LOG.warning(
            "%s: was made by an older version, which knew its quantised base by a sample; whether "
            "%s is still that base was not checked",
            run.path,
            loaded.name,
        )
        return
    if loaded.quantized or not is_model(loaded.model, str(known)):
        raise SpecError(
            f"{run.path}: model {loaded.name} is not the one the run began with; restore it, or "
            "start a new run."
        )
