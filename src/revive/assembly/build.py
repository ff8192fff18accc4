"""Build an engine from a resolved spec: model, sites, contexts, moments, editor, guard."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from revive import registry
from revive.calibration.energy import choose_site_energies
from revive.calibration.strength import calibrate_strength
from revive.calibration.trials import Calibration, solved_once, suffices, trial_edits
from revive.data.edits import Edit
from revive.editors.base import EditContext, EditMethod
from revive.editors.target_solver.context_templates import generate_context_templates
from revive.engine.engine import Engine, SolvedAhead
from revive.engine.originals import originals
from revive.engine.text_statistics import Notify, TextStatistics, reads_inputs, silent
from revive.errors import SpecError
from revive.guards.base import Guard
from revive.guards.chain import Chain
from revive.guards.fitted import FittedGuard
from revive.linalg.cache import BasisCache
from revive.models.forward.runner import BlockRunner
from revive.models.ledger import Ledger
from revive.models.loading import LoadedModel, load_model
from revive.options.editors import TargetOptions
from revive.spec.expert_limits import refuse_on_experts
from revive.spec.parsing import editor_options, guard_settings, refuse_code
from revive.spec.schema import GuardSpec, ModelSpec, RunSpec

CALIBRATION_BATCH = 100


@dataclass(frozen=True)
class Built:
    """An engine and what it was built from.

    Attributes:
        spec: The spec, with lambda filled in where it was calibrated.
        loaded: The model.
        engine: Ready for the first batch.
        calibration: How lambda was chosen, where it was.
    """

    spec: RunSpec
    loaded: LoadedModel
    engine: Engine
    calibration: Calibration | None


def load_from_spec(
    model: ModelSpec, edited: Sequence[int] = (), *, trust_code: bool = False
) -> LoadedModel:
    """Load the model a spec names, with the projections of these blocks ready to be edited.

    Args:
        model: Of the spec.
        edited: Blocks.
        trust_code: Whether whoever asks for this lets code run that comes with the model. A spec
            says only that there is such code: it may come from somebody else.

    Raises:
        SpecError: The spec asks for that code, and nobody here has allowed it.
    """
    refuse_code(model, trust_code)
    return load_model(
        model.name,
        dtype=model.dtype,
        device=model.device,
        device_map=model.device_map,
        quantize=model.quantize,
        edited=edited,
        revision=model.revision,
        trust_remote_code=model.trust_remote_code,
    )


def load_for(spec: RunSpec, *, trust_code: bool = False) -> LoadedModel:
    """Load the model of a resolved spec; see `load_from_spec`."""
    layers = editor_options(spec.editor).layers or ()
    return load_from_spec(spec.model, layers, trust_code=trust_code)


def build(
    spec: RunSpec,
    loaded: LoadedModel,
    fresh_batch: Sequence[Edit],
    *,
    guard: Guard | None = None,
    cache: Path | None = None,
    notify: Notify = silent,
) -> Built:
    """Prepare everything that is constant over a run, on the unedited model.

    Args:
        spec: A resolved spec of a built-in least-squares editor or a plug-in's.
        loaded: The unedited model.
        fresh_batch: The run's first batch: its strength is calibrated on it, if the spec leaves it
            open.
        guard: Used instead of the spec's, if given.
        cache: Folder of constant results; None keeps nothing.
        notify: Told about progress.

    Raises:
        SpecError: The spec does not fit the model.
        NumericalError: A weight holds NaN or infinity.
    """
    if spec.threads is not None:
        torch.set_num_threads(spec.threads)
    options = editor_options(spec.editor)
    if options.layers is None:
        raise SpecError(f"editor: {spec.editor.name} has no layers; name them in editor.layers.")
    family = loaded.family
    sites = family.sites(loaded.model, layers=options.layers)
    editor_class: type[EditMethod[Any]] = registry.load("editors", spec.editor.name)
    chosen_guard = make_guard(spec.guard) if guard is None else guard
    if any(site.expert is not None for site in sites):
        # A spec of a known family was refused already; here are other packages' and Python's.
        refuse_on_experts(spec.editor.name, able=editor_class.edits_experts, mode=chosen_guard.mode)
    ledger = Ledger(loaded.model, sites)
    runner = BlockRunner(loaded.model, family, spec.model.precision)
    contexts: tuple[str, ...] = ()
    if isinstance(options, TargetOptions):
        contexts = generate_context_templates(
            loaded.model,
            loaded.tokenizer,
            count=options.contexts,
            length=options.context_length,
            seed=spec.seed,
        )
    text = TextStatistics(spec, loaded, runner, sites, cache, notify)
    moments = text.moments() if options.needs_moments or reads_inputs(chosen_guard) else {}
    context = EditContext(
        runner, loaded.tokenizer, sites, contexts, moments, ledger, seed=spec.seed
    )
    editor = editor_class(options)
    if chosen_guard.mode != "posthoc" and not editor.solves_under_guards:
        raise SpecError(
            f"guard.solve: {chosen_guard.mode} is for editors that solve least squares, and "
            f"{spec.editor.name} does not; use solve: posthoc."
        )
    fresh = fresh_batch[:CALIBRATION_BATCH]
    calibration, ahead = None, None
    if options.grid and getattr(options, options.strength) is None:
        calibration, ahead = _calibrated(editor, context, ledger, fresh, notify)
        chosen = {options.strength: calibration.value}
        editor = editor.with_options(options.model_copy(update=chosen))
        spec = spec.model_copy(update={"editor": spec.editor.model_copy(update=chosen)})
    editor.prepare(context)
    if guard is None and spec.guard.energy == "auto":
        energies = choose_site_energies(
            editor,
            make_guard(spec.guard.model_copy(update={"energy": 0.0})),
            context,
            ledger,
            loaded.tokenizer,
            fresh,
            progress=lambda done, total: notify("calibration of energy", done, total),
        )
        spec = spec.model_copy(update={"guard": spec.guard.model_copy(update={"energy": energies})})
        chosen_guard = make_guard(spec.guard)
    fitted = FittedGuard(
        chosen_guard,
        originals(ledger),
        statistics=text.statistics(chosen_guard, moments),
        cache=None if cache is None else BasisCache(cache / "bases"),
    )
    return Built(spec, loaded, Engine(context, ledger, editor, fitted, ahead), calibration)


def _calibrated(
    editor: EditMethod[Any],
    context: EditContext,
    ledger: Ledger,
    fresh: Sequence[Edit],
    notify: Notify,
) -> tuple[Calibration, SolvedAhead | None]:
    """The editor's strength, and the targets that it was found with."""
    own = suffices(fresh)
    batch = tuple(fresh if own else trial_edits())
    notify("solving targets", 0, 1)
    solved = solved_once(editor, batch, context)
    found = calibrate_strength(
        editor,
        context,
        ledger,
        context.tokenizer,
        batch,
        solved=solved,
        progress=lambda done, total: notify("calibration", done, total),
    )
    ahead = None if solved is None else SolvedAhead(batch, solved)
    return dataclasses.replace(found, of_package=not own), ahead


def make_guard(spec: GuardSpec) -> Guard:
    """The guard a spec names, with the settings that it has."""
    if spec.then:
        alone = spec.model_copy(update={"then": []})
        return Chain(guards=tuple(make_guard(part) for part in (alone, *spec.then)))
    guard_class: Any = registry.load("guards", spec.name)
    known = {field.name for field in dataclasses.fields(guard_class)}
    settings = {k: v for k, v in guard_settings(spec).items() if k in known}
    if settings.get("energy") == "auto":
        # Chosen before the first edit; until then the guard only lends its other settings.
        settings["energy"] = 0.0
    return guard_class(**settings)
