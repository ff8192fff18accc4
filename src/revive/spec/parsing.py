"""A run's spec: read it, check it, fill it in, write it down. No torch."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from pydantic import ValidationError

from revive import registry
from revive.data.joining import PUBLISHED
from revive.errors import SpecError
from revive.io.yaml_text import format_yaml, parse_yaml
from revive.paths import at_home, refuse_special
from revive.sources.model_config import read_model_config
from revive.spec.complaints import complaint
from revive.spec.overrides import apply_overrides
from revive.spec.resolve import (
    editor_options,
    guard_settings,
    probe_settings,
    resolve,
    sink_settings,
)
from revive.spec.schema import (
    CheckpointSpec,
    EditorSpec,
    EditsSpec,
    GuardSpec,
    ModelSpec,
    MomentsSpec,
    ProbeSpec,
    RunSpec,
    SinkSpec,
)

__all__ = [
    "CheckpointSpec",
    "EditorSpec",
    "EditsSpec",
    "GuardSpec",
    "ModelSpec",
    "MomentsSpec",
    "ProbeSpec",
    "RunSpec",
    "SinkSpec",
    "dump_spec",
    "editor_options",
    "guard_settings",
    "load_spec",
    "load_stored_spec",
    "named_sinks",
    "parse_spec",
    "parse_stored_spec",
    "probe_settings",
    "read_model_config",
    "refuse_code",
    "resolve",
    "sink_settings",
    "with_code",
    "with_sinks",
]


def load_spec(path: str | Path, overrides: Sequence[str] = ()) -> RunSpec:
    """Read a spec file. Relative paths in it are relative to the working directory.

    Args:
        path: A YAML file.
        overrides: `key.key=value`, applied before anything is checked.

    Raises:
        SpecError: The file cannot be read or the spec is wrong.
    """
    return parse_spec(apply_overrides(_read(path), overrides), str(path))


def _read(path: str | Path) -> dict[str, Any]:
    file = at_home(path)
    if file.is_dir():
        raise SpecError(f"{path}: is a folder, expected a spec file (YAML).")
    refuse_special(file)
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise SpecError(f"{path}: no such file; check the path of the spec.") from error
    except UnicodeDecodeError as error:
        raise SpecError(f"{path}: not UTF-8 text; save the file as UTF-8.") from error
    except OSError as error:
        raise SpecError(f"{path}: cannot be read ({error.strerror}).") from error
    data: object = parse_yaml(text, str(path))
    if not isinstance(data, dict):
        raise SpecError(
            f"{path}: expected a mapping with at least `model` and `edits`, for example "
            "`model: {name: lab}` and `edits: {path: lab, limit: 200}`."
        )
    return cast("dict[str, Any]", data)


def load_stored_spec(path: str | Path) -> RunSpec:
    """Read the spec of a run folder; see `parse_stored_spec`.

    Raises:
        SpecError: The file cannot be read or the spec is wrong.
    """
    return parse_stored_spec(_read(path), str(path))


def parse_stored_spec(data: Mapping[str, object], source: str) -> RunSpec:
    """Check what a run has written down of its spec.

    An older run, whose spec knows no joiner, goes on with the one that it was made with.

    Raises:
        SpecError: It is no spec.
    """
    edits = data.get("edits")
    if isinstance(edits, dict) and "joiner" not in edits:
        data = {**data, "edits": {**edits, "joiner": PUBLISHED}}
    return parse_spec(data, source)


def parse_spec(data: Mapping[str, object], source: str = "spec") -> RunSpec:
    """Check plain data as a spec, down to the settings of built-in editors and probes.

    Args:
        data: What a YAML file holds.
        source: Where it comes from, for messages.

    Raises:
        SpecError: Names the key and what to do.
    """
    try:
        spec = RunSpec.model_validate(data)
    except ValidationError as error:
        raise complaint(error, RunSpec, source) from error
    _known(source, "editor.name", "editors", spec.editor.name)
    for number, guard in enumerate((spec.guard, *spec.guard.then)):
        where = "guard" if number == 0 else f"guard.{number}"
        _known(source, f"{where}.name", "guards", guard.name)
        guard_settings(guard, source, where)
    if spec.edits.format != "auto":
        _known(source, "edits.format", "datasets", spec.edits.format)
    editor_options(spec.editor, source)
    for number, probe in enumerate(spec.probes):
        _known(source, f"probes.{number}.name", "probes", probe.name)
        probe_settings(probe, source, f"probes.{number}")
    for number, sink in enumerate(spec.sinks):
        _known(source, f"sinks.{number}.name", "sinks", sink.name)
        sink_settings(sink, source, f"sinks.{number}")
    return spec


def named_sinks(names: Sequence[str], source: str = "--sink") -> list[SinkSpec]:
    """Sinks by name, with their default settings.

    Raises:
        SpecError: There is no such sink.
    """
    for name in names:
        _known(source, "sinks", "sinks", name)
    return [SinkSpec(name=name) for name in dict.fromkeys(names)]


def with_sinks(spec: RunSpec, more: Sequence[SinkSpec]) -> RunSpec:
    """The spec with some more sinks; one that it has already stays as it is."""
    known = {sink.name for sink in spec.sinks}
    return spec.model_copy(
        update={"sinks": [*spec.sinks, *(sink for sink in more if sink.name not in known)]}
    )


def with_code(spec: RunSpec, trusted: bool) -> RunSpec:
    """The spec with a note that the model needs code of its own, where a command allows that."""
    if not trusted:
        return spec
    model = spec.model.model_copy(update={"trust_remote_code": True})
    return spec.model_copy(update={"model": model})


def refuse_code(model: ModelSpec, trusted: bool) -> None:
    """Refuse a spec that asks for a model's own code where nobody has allowed it.

    Raises:
        SpecError: It does.
    """
    if model.trust_remote_code and not trusted:
        raise SpecError(
            f"model: the spec asks for code that comes with {model.name}, which was not run. Read "
            "it, and if you trust it add --trust-remote-code, each time: a spec or a run folder "
            "may come from somebody else."
        )


def dump_spec(spec: RunSpec) -> str:
    """The spec as YAML; reading it back gives the same spec."""
    data = spec.model_dump()
    if spec.guard.title == "none":
        data["guard"] = {"name": "none"}
    elif not spec.guard.then:
        del data["guard"]["then"]
    return format_yaml(data)


def _known(source: str, where: str, group: registry.Group, name: str) -> None:
    try:
        registry.require(group, name)
    except SpecError as error:
        raise SpecError(f"{source}: {where}: {error}") from error
