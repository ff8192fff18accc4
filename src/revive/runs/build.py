"""Build an engine from a resolved spec: model, sites, contexts, moments, editor, guard."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from revive import registry
from revive.data.edits import Edit
from revive.editors.base import EditContext, Editor
from revive.editors.contexts import generate_contexts
from revive.editors.memit import LeastSquaresEditor
from revive.editors.moments import collect_moments
from revive.errors import SpecError
from revive.guards.base import Guard
from revive.guards.fitted import FittedGuard
from revive.linalg.cache import BasisCache
from revive.models.ledger import Ledger
from revive.models.loading import LoadedModel, load_model
from revive.models.runner import BlockRunner, context_length
from revive.runs.calibrate import calibrate_ridge
from revive.runs.engine import Engine
from revive.runs.schema import GuardSpec, ModelSpec, MomentsSpec, RunSpec
from revive.runs.spec import editor_options
from revive.runs.trials import Calibration

Notify = Callable[[str, int, int], None]
"""Called with (phase, steps done, steps in all) while something long is computed."""

LAB_SENTENCES = 2_000
CALIBRATION_BATCH = 100


def silent(_phase: str, _done: int, _total: int) -> None:
    """Notify nobody."""


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


def load_from_spec(model: ModelSpec) -> LoadedModel:
    """Load the model a spec names."""
    return load_model(
        model.name,
        dtype=model.dtype,
        device=model.device,
        device_map=model.device_map,
        revision=model.revision,
        trust_remote_code=model.trust_remote_code,
    )


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
        fresh_batch: Edits to calibrate lambda on, if the spec leaves it open.
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
    ledger = Ledger(loaded.model, sites)
    runner = BlockRunner(loaded.model, family, spec.model.precision)
    contexts = generate_contexts(
        loaded.model,
        loaded.tokenizer,
        count=options.contexts,
        length=options.context_length,
        seed=spec.seed,
    )
    moments = collect_moments(
        runner,
        loaded.tokenizer,
        sites,
        moment_texts(spec.moments, spec.seed),
        cache=cache,
        model_fingerprint=loaded.fingerprint,
        window=min(spec.moments.window, context_length(loaded.model) or spec.moments.window),
        progress=lambda done, total: notify("moments", done, total),
    )
    context = EditContext(runner, loaded.tokenizer, sites, contexts, moments)
    editor_class: type[Editor] = registry.load("editors", spec.editor.name)
    editor = editor_class(options)
    calibration = None
    if options.ridge is None and isinstance(editor, LeastSquaresEditor):
        calibration = calibrate_ridge(
            editor,
            context,
            ledger,
            loaded.tokenizer,
            fresh_batch[:CALIBRATION_BATCH],
            progress=lambda done, total: notify("calibration", done, total),
        )
        options = options.model_copy(update={"ridge": calibration.value})
        editor = type(editor)(options)
        chosen = spec.editor.model_copy(update={"ridge": calibration.value})
        spec = spec.model_copy(update={"editor": chosen})
    editor.prepare(context)
    chosen_guard = make_guard(spec.guard) if guard is None else guard
    fitted = FittedGuard(
        chosen_guard,
        {s.parameter: ledger.original(s.parameter) for s in sites},
        cache=None if cache is None else BasisCache(cache / "bases"),
    )
    return Built(spec, loaded, Engine(context, ledger, editor, fitted), calibration)


def make_guard(spec: GuardSpec) -> Guard:
    """The guard a spec names, with the settings that it has."""
    guard_class: Any = registry.load("guards", spec.name)
    known = {field.name for field in dataclasses.fields(guard_class)}
    settings = {k: v for k, v in spec.model_dump().items() if k in known}
    return guard_class(**settings)


def moment_texts(moments: MomentsSpec, seed: int) -> list[str]:
    """The passages key second moments are taken from."""
    if moments.text is None or moments.text == "lab":
        from revive.lab.corpus import sentences

        return sentences(seed, min(LAB_SENTENCES, moments.samples))
    passages: list[str] = []
    for path in moments.text:
        try:
            text = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise SpecError(f"moments.text: cannot read {path}: {error}") from error
        passages.extend(p.strip() for p in text.splitlines() if p.strip())
        if len(passages) >= moments.samples:
            break
    if not passages:
        raise SpecError(f"moments.text: {', '.join(moments.text)} hold no text.")
    return passages[: moments.samples]
