"""Settings by rule, tried on a few edits of the package before the first batch.

Where nobody published settings for a model, `presets.rule` gives some that need no size chosen for
it. Whether they serve is then asked of the model itself, on the twelve edits of
`data/trial_edits.jsonl`: are the targets reached, does the model answer with the new target once
they are written, is the update short beside the weight? What fails is opened up, as long as the
spec leaves it open:

- targets are not reached, and shifts are at their clamp: twice the clamp, up to `MOST_CLAMP`;
- not reached within it: twice the steps, up to `MOST_STEPS`;
- reached, but the written edit does not answer: a tenth of lambda, up to three times.

The first settings under which `ENOUGH` of the edits are reached and answer are taken, else those
with the most answers, and that they are not enough is said. The outcome is kept per model and
settings, so it is asked once. The published code has one set of numbers a model, found by hand.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from revive import registry
from revive.assembly.build import Built, build
from revive.calibration.strength import calibrate_strength
from revive.calibration.trials import solved_once, trial_edits
from revive.data.edits import Edit
from revive.editors.target_editor import SolvedBatch, TargetEditor
from revive.engine.text_statistics import Notify, silent
from revive.guards.controls import NoGuard
from revive.models.forward.precision import products
from revive.models.loading import LoadedModel
from revive.options.editors import TargetOptions
from revive.probes.edits import score_edits
from revive.spec.fit_cache import ENOUGH, Fit, SettingsTrial, cached_fit, keep_fit
from revive.spec.parsing import editor_options
from revive.spec.schema import RunSpec

MOST_CLAMP, MOST_STEPS = 3.0, 50
_WEAKEST = 1e-3  # of lambda, relative to the rule's


def build_fitted(
    spec: RunSpec,
    loaded: LoadedModel,
    fresh_batch: Sequence[Edit],
    *,
    cache: Path | None,
    notify: Notify = silent,
    **others: Any,
) -> tuple[Built, Fit | None]:
    """`build`, after the settings that the spec leaves to the rule were tried on the model.

    Args:
        spec: A resolved spec.
        loaded: The unedited model.
        fresh_batch: As in `build`.
        cache: Folder of constant results; None keeps nothing.
        notify: Told about progress.
        others: Further arguments of `build`.

    Returns:
        What was built, its spec holding the settings that were chosen, and how they did; None
        where nothing was left to the rule.
    """
    fit = None
    editor_class: type[Any] = registry.load("editors", spec.editor.name)
    # An editor of another package may have these settings, and solve for targets in its own way.
    if spec.editor.fit and issubclass(editor_class, TargetEditor):
        fit = fitted(spec, loaded, cache, notify)
        spec = with_settings(spec, fit.chosen.settings)
    return build(spec, loaded, fresh_batch, cache=cache, notify=notify, **others), fit


def with_settings(spec: RunSpec, settings: Mapping[str, Any]) -> RunSpec:
    """The spec with settings that are chosen, and nothing left to the rule."""
    return spec.model_copy(
        update={"editor": spec.editor.model_copy(update={**settings, "fit": []})}
    )


def fitted(spec: RunSpec, loaded: LoadedModel, cache: Path | None, notify: Notify = silent) -> Fit:
    """Try the spec's settings, or find what was found before."""
    fingerprint = loaded.forward_fingerprint
    found = None if cache is None else cached_fit(cache, fingerprint, spec.editor)
    if found is None:
        found = _try_settings(spec, loaded, cache, notify)
    if cache is not None:
        keep_fit(cache, fingerprint, spec, found)
    return found


def _try_settings(spec: RunSpec, loaded: LoadedModel, cache: Path | None, notify: Notify) -> Fit:
    open_settings = spec.editor.fit or []
    settled = with_settings(spec, {})
    edits = trial_edits()
    built = build(settled, loaded, edits, guard=NoGuard(), cache=cache, notify=notify)
    options = editor_options(built.spec.editor)
    assert isinstance(options, TargetOptions), "the rule opens settings of these only"
    first = options
    attempts: list[SettingsTrial] = []
    # A calibration of the strength has solved for these edits already.
    solved = None if built.engine.ahead is None else built.engine.ahead.solved
    while True:
        notify("trying settings", len(attempts), len(attempts) + 1)
        if solved is None and built.calibration is not None:
            solved, options = _calibrated_again(built, edits, options)
        built.engine.editor = built.engine.editor.with_options(options)
        chosen = {key: getattr(options, key) for key in open_settings}
        solved, attempt = try_edits(built, edits, chosen, solved)
        attempts.append(attempt)
        changed = None if attempt.enough else _opened(options, first, attempt, open_settings)
        if changed is None:
            break
        if set(changed) != {"ridge"}:
            solved = None
        options = options.model_copy(update=changed)
    return Fit(max(attempts, key=_rank), tuple(attempts))


def _calibrated_again(
    built: Built, edits: Sequence[Edit], options: TargetOptions
) -> tuple[SolvedBatch | None, TargetOptions]:
    """Targets under other settings, and the strength that goes with them."""
    engine = built.engine
    editor = engine.editor.with_options(options)
    solved = solved_once(editor, edits, engine.context)
    found = calibrate_strength(
        editor, engine.context, engine.ledger, built.loaded.tokenizer, edits, solved=solved
    )
    return solved, options.model_copy(update={options.strength: found.value})


def _rank(attempt: SettingsTrial) -> tuple[bool, float, float]:
    return attempt.enough, attempt.answered, attempt.reached


def try_edits(
    built: Built,
    edits: Sequence[Edit],
    settings: Mapping[str, Any],
    solved: SolvedBatch | None = None,
) -> tuple[SolvedBatch, SettingsTrial]:
    """Write edits, score them, undo. The model is left as it was.

    Args:
        built: An engine whose editor solves for targets.
        edits: The edits.
        settings: What the attempt is told to be of.
        solved: Their targets, if they are solved already.
    """
    engine, loaded = built.engine, built.loaded
    editor, ledger = engine.editor, engine.ledger
    assert isinstance(editor, TargetEditor), "checked by the caller"
    editor.prepare(engine.context)
    if solved is None:
        solved = editor.solve_batch(edits, engine.context)
    with ledger.transaction():
        engine.drive(editor.spread(solved, engine.context))
        update = max(
            float(ledger.delta(key).norm() / ledger.original(key).norm()) for key in ledger.sites
        )
        with products(engine.context.runner.precision):
            metrics = score_edits(loaded.model, loaded.tokenizer, edits).metrics()
        ledger.rewind()
    made = len(edits) - len(solved.failed)
    attempt = SettingsTrial(
        settings=settings,
        edits=len(edits),
        reached=(made - len(solved.unsolved)) / len(edits),
        answered=metrics["efficacy_exact"],
        paraphrase=metrics["paraphrase"],
        neighborhood=metrics["neighborhood"],
        evaluations=solved.notes.get("target_evaluations", 0.0),
        shift=solved.notes.get("target_shift", 0.0),
        update=update,
    )
    return solved, attempt


def _opened(
    options: TargetOptions,
    first: TargetOptions,
    attempt: SettingsTrial,
    open_settings: Sequence[str],
) -> dict[str, Any] | None:
    """The settings to try next, None if there is nothing left to open."""
    if attempt.reached < ENOUGH:
        clamp, steps = options.clamp or 0.0, options.steps or 0
        if "clamp" in open_settings and attempt.shift >= 0.8 * clamp and clamp < MOST_CLAMP:
            return {"clamp": min(2 * clamp, MOST_CLAMP)}
        if "steps" in open_settings and steps < MOST_STEPS:
            return {"steps": min(2 * steps, MOST_STEPS)}
        if "clamp" in open_settings and clamp < MOST_CLAMP:
            return {"clamp": min(2 * clamp, MOST_CLAMP)}
        return None
    ridge, by_rule = getattr(options, "ridge", None), getattr(first, "ridge", None)
    if "ridge" in open_settings and ridge and by_rule and ridge > 1.01 * _WEAKEST * by_rule:
        return {"ridge": ridge / 10}
    return None
