"""Fill in everything a spec leaves open, so that what a run stores says all there is to say."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ValidationError

from revive import registry
from revive.errors import SpecError
from revive.io.cache import cache_folder
from revive.options.editors import OPTIONS, EditorOptions, TargetOptions
from revive.options.guards import GUARD_OPTIONS, GuardOptions
from revive.options.probes import PROBE_OPTIONS
from revive.options.sinks import SINK_OPTIONS
from revive.paths import at_home, refuse_special
from revive.presets.facts import ModelFacts, model_facts
from revive.presets.rule import FITTED
from revive.presets.table import RULE, Preset, choose
from revive.sources.named import named
from revive.spec.block_choice import BlockChoice, kept_blocks
from revive.spec.complaints import complaint
from revive.spec.expert_limits import EDITORS, refuse_on_experts
from revive.spec.schema import (
    EditorSpec,
    GuardSpec,
    ModelSpec,
    MomentsSpec,
    ProbeSpec,
    RunSpec,
    SinkSpec,
)
from revive.tasks.collect import locate
from revive.tasks.suites import split
from revive.texts.package import ABOUT, PACKAGE

_LAB = "lab"  # edits and text that come with the package


def resolve(spec: RunSpec, model_config: Mapping[str, object]) -> RunSpec:
    """Fill in defaults that depend on the model. Resolving twice changes nothing.

    The setting that an editor's strength depends on (`ridge` for most) stays None where no preset
    knows it; a run then calibrates it on the model.

    Args:
        spec: A checked spec.
        model_config: The model's `config.json`.

    Raises:
        SpecError: The settings do not fit the model.
    """
    facts = model_facts(model_config)
    editor = _editor(spec, facts, model_config)
    if facts.sparse.intersection(editor_options(editor).layers or ()):
        for guard in (spec.guard, *spec.guard.then):
            refuse_on_experts(
                editor.name,
                able=editor.name in EDITORS or editor.name not in OPTIONS,
                mode=guard.solve,
                energy=guard.energy,
            )
    return spec.model_copy(
        update={
            "model": _model(spec.model),
            "edits": spec.edits.model_copy(update={"path": _absolute(spec.edits.path)}),
            "editor": editor,
            "guard": whole_guard(spec.guard),
            "probes": [_probe(probe) for probe in spec.probes],
            "sinks": [_sink(sink) for sink in spec.sinks],
            "moments": _moments(spec),
        }
    )


def stand_in_text(model: str) -> Literal["lab", "package"]:
    """The text that a model's second moments are taken from where nobody names any."""
    known = named(model)
    return "lab" if known is not None and known.text == "lab" else PACKAGE


def text_note(given: RunSpec, resolved: RunSpec) -> str | None:
    """What a user should know who named no text though the run reads some."""
    guards = (resolved.guard, *resolved.guard.then)
    read = editor_options(resolved.editor).needs_moments
    read = read or any(guard.solve == "weighted" for guard in guards)
    if given.moments.text is not None or resolved.moments.text != PACKAGE or not read:
        return None
    return (
        f"no text is named: what the model should keep handling well is taken from {ABOUT}, which "
        "come with the package. Text of your own, of the kind that the model is used for, fits it "
        "better: --text FILE, or moments.text in a spec."
    )


def setting_sources(spec: RunSpec, model_config: Mapping[str, object]) -> dict[str, str]:
    """Where each setting of the editor comes from: the spec, a preset with its source, a default.

    Args:
        spec: A checked spec, before it is resolved.
        model_config: The model's `config.json`.
    """
    given = editor_options(spec.editor)
    preset = _preset(spec, model_facts(model_config), model_config)
    chosen = blocks_chosen(spec, model_config) if preset.name == RULE else None
    known = preset.settings_of(spec.editor.name, given)
    aimed = isinstance(given, TargetOptions) and preset.name == RULE
    told = {key for key in given.model_fields_set if getattr(given, key) is not None}
    sources: dict[str, str] = {}
    for key in type(given).model_fields:
        if key in told:
            sources[key] = "spec"
        elif key in known:
            sources[key] = f"preset {preset.name} ({preset.source})"
            if key == "layers" and chosen is not None and known[key] == list(chosen.layers):
                sources[key] = "chosen for this model by 'revive calibrate'"
            if aimed and key in FITTED:
                sources[key] += ", tried on a few edits before the first batch"
        elif given.grid and key == given.strength:
            sources[key] = "calibrated on the first batch when the run starts"
        else:
            sources[key] = "default of the editor"
    return sources


def editor_options(editor: EditorSpec, source: str = "spec") -> EditorOptions:
    """The settings of an editor. One of another package is imported to know them.

    Raises:
        SpecError: A setting is unknown or malformed.
    """
    model = OPTIONS.get(editor.name)
    if model is None:
        found: type[EditorOptions] = registry.load("editors", editor.name).options_model
        model = found
    try:
        return model.model_validate(editor.model_extra or {})
    except ValidationError as error:
        raise complaint(error, model, source, "editor") from error


def guard_settings(guard: GuardSpec, source: str = "spec", where: str = "guard") -> dict[str, Any]:
    """A guard's settings with their defaults, as keywords of its constructor.

    Raises:
        SpecError: A setting is unknown or malformed.
    """
    common = guard.model_dump(include={"energy", "basis", "when", "solve", "seed"})
    if not registry.is_builtin("guards", guard.name):
        return {**common, **guard.settings()}
    model = GUARD_OPTIONS.get(guard.name, GuardOptions)
    foreign = {key for other in GUARD_OPTIONS.values() for key in other.model_fields}
    foreign -= set(model.model_fields)
    given = {k: v for k, v in (guard.model_extra or {}).items() if k not in foreign}
    try:
        own = model.model_validate(given)
    except ValidationError as error:
        known = (*GuardSpec.model_fields, *model.model_fields)
        raise complaint(error, model, source, where, known=known) from error
    return {**common, **own.model_dump()}


def probe_settings(probe: ProbeSpec, source: str = "spec", where: str = "probes") -> dict[str, Any]:
    """A probe's settings with their defaults, as keywords of its constructor.

    Raises:
        SpecError: A setting is unknown or malformed.
    """
    model = PROBE_OPTIONS.get(probe.name)
    if model is None:
        return probe.settings()
    return _settings(model, probe.model_extra, source, where)


def sink_settings(sink: SinkSpec, source: str = "spec", where: str = "sinks") -> dict[str, Any]:
    """A sink's settings with their defaults, as keywords of its constructor.

    Raises:
        SpecError: A setting is unknown or malformed.
    """
    model = SINK_OPTIONS.get(sink.name)
    if model is None:
        return sink.settings()
    return _settings(model, sink.model_extra, source, where)


def _settings(
    model: type[BaseModel], given: Mapping[str, Any] | None, source: str, where: str
) -> dict[str, Any]:
    try:
        return model.model_validate(given or {}).model_dump()
    except ValidationError as error:
        raise complaint(error, model, source, where) from error


def _model(model: ModelSpec) -> ModelSpec:
    path = at_home(model.name)
    if named(model.name) is not None or not path.exists():
        return model
    return model.model_copy(update={"name": str(path.resolve())})


def blocks_chosen(spec: RunSpec, config: Mapping[str, object]) -> BlockChoice | None:
    """The blocks that `revive calibrate` chose for the spec's model, if it did."""
    return kept_blocks(cache_folder(), _model(spec.model), config)


def _preset(spec: RunSpec, facts: ModelFacts, config: Mapping[str, object]) -> Preset:
    """The preset that a spec gets; by rule, with the blocks that were chosen for the model."""
    preset = choose(spec.editor.preset, spec.model.name, facts)
    chosen = blocks_chosen(spec, config) if preset.name == RULE else None
    if chosen is None:
        return preset
    return replace(preset, options={**preset.options, "layers": list(chosen.layers)})


def _editor(spec: RunSpec, facts: ModelFacts, config: Mapping[str, object]) -> EditorSpec:
    given = editor_options(spec.editor)
    preset = _preset(spec, facts, config)
    settings = given.model_dump()
    known = preset.settings_of(spec.editor.name, given)
    filled = {k for k in known if k not in given.model_fields_set or settings[k] is None}
    settings.update({key: known[key] for key in filled})
    fit = spec.editor.fit
    if fit is None:
        aimed = isinstance(given, TargetOptions) and preset.name == RULE
        fit = [key for key in FITTED if key in filled] if aimed else []
    layers: list[int] = settings["layers"]
    if layers[-1] >= facts.blocks:
        raise SpecError(
            f"editor.layers: block {layers[-1]} does not exist; the model has blocks 0 to "
            f"{facts.blocks - 1}."
        )
    if facts.positions is not None and settings.get("context_length", 0) >= facts.positions:
        raise SpecError(
            f"editor.context_length: {settings['context_length']} tokens leave no room for a "
            f"prompt; the model takes {facts.positions}."
        )
    return EditorSpec(name=spec.editor.name, preset=preset.name, fit=fit, **settings)


def whole_guard(guard: GuardSpec) -> GuardSpec:
    """A guard's spec with all its settings."""
    then = [whole_guard(part) for part in guard.then]
    return GuardSpec(name=guard.name, **guard_settings(guard), then=then)


def _probe(probe: ProbeSpec) -> ProbeSpec:
    settings = probe_settings(probe)
    if probe.name == "perplexity":
        settings["text"] = _file("probes.perplexity.text", settings["text"])
    if probe.name == "generation" and settings["corpus"] is not None:
        settings["corpus"] = _file("probes.generation.corpus", settings["corpus"])
    if probe.name == "tasks":
        settings = _located(settings)
    return ProbeSpec(name=probe.name, every=probe.every, **settings)


def _located(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings of `tasks` with whole paths; every task is known and has data."""
    found = dict(settings)
    for key in ("data", "include"):
        if settings[key] is not None:
            found[key] = str(at_home(settings[key]).resolve())
    own, _ = split(settings["tasks"])
    try:
        locate(own, None if found["data"] is None else Path(found["data"]))
    except SpecError as error:
        raise SpecError(f"probes.tasks: {error}") from error
    return found


def _sink(sink: SinkSpec) -> SinkSpec:
    settings = sink_settings(sink)
    if sink.name == "tensorboard" and settings["folder"] is not None:
        settings["folder"] = _absolute(settings["folder"])
    return SinkSpec(name=sink.name, **settings)


def _moments(spec: RunSpec) -> MomentsSpec:
    text = spec.moments.text
    if isinstance(text, list):
        text = [_file("moments.text", path) for path in text]
    return spec.moments.model_copy(update={"text": text or stand_in_text(spec.model.name)})


def _file(key: str, path: str) -> str:
    """A file that is read after the run folder is made: it had better be there."""
    refuse_special(at_home(path))
    if not at_home(path).is_file():
        raise SpecError(f"{key}: {path}: no such file; check the path.")
    return _absolute(path)


def _absolute(path: str) -> str:
    return path if path == _LAB else str(at_home(path).resolve())
