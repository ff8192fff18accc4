"""A run whose product is a saved model: what `revive edit` does."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from revive.errors import SpecError
from revive.export.run import export_run
from revive.runs.failures import check_made
from revive.runs.loop import resume, start
from revive.runs.observers import Observer
from revive.spec.overrides import apply_overrides
from revive.spec.parsing import dump_spec, load_spec, parse_spec
from revive.spec.schema import RunSpec

SOLVED_UNDER_GUARDS = frozenset(
    {"memit", "memit-seq", "alphaedit", "encore", "emmet", "rect", "prune"}
)
"""Built-in editors whose least squares heed a guard's constraint. No torch is needed to know."""


def edit_spec(
    model: str | Mapping[str, Any],
    edits: Path,
    editor: str,
    guard: str,
    text: Sequence[Path],
    on_conflict: str,
    overrides: Sequence[str],
    *,
    skip_bad: bool = False,
) -> RunSpec:
    """The spec of an everyday edit: one probe before and after, a checkpoint now and then.

    Args:
        model: Its name, or the `model` of a spec.
        edits: Edit file.
        editor: An editor's name.
        guard: A guard's name, or `auto`, see `default_guard`.
        text: Files of ordinary text.
        on_conflict: As in a spec.
        overrides: `key=value`, as `--set` takes them.
        skip_bad: As in a spec.
    """
    data: dict[str, Any] = {
        "model": {"name": model} if isinstance(model, str) else dict(model),
        "edits": {"path": str(edits), "on_conflict": on_conflict, "skip_bad": skip_bad},
        "editor": {"name": editor},
        "guard": default_guard(editor) if guard == "auto" else {"name": guard},
        # Measured at the start and at the end; a long file every ten batches.
        "probes": [
            {"name": "edits", "every": 10, "sample": 200},
            {"name": "spectrum", "every": 10},
        ],
    }
    if text:
        data["moments"] = {"text": [str(path) for path in text]}
    return parse_spec(apply_overrides(data, overrides), "edit")


def default_guard(editor: str) -> dict[str, str]:
    """What guards an everyday edit where nothing is asked for.

    REVIVE, solved under its constraint where the editor can: on SmolLM2-135M the filter as
    published takes a part of every edit, which the constrained solve gives back
    (recipes/defaults.yaml, docs/findings.md). Mixtures of experts are not solved under it.
    """
    constrained = editor in SOLVED_UNDER_GUARDS
    return {"name": "revive", **({"solve": "constrained"} if constrained else {})}


def apply_and_save(
    spec: RunSpec,
    folder: Path,
    out: Path,
    observer: Observer | None = None,
    *,
    dtype: str | None = None,
    trust_code: bool = False,
) -> dict[str, Any]:
    """Drive the run to its end (resuming it if it was interrupted), then save the model.

    Args:
        spec: A resolved spec.
        folder: The run folder.
        out: Folder of the edited model; appears whole or not at all.
        observer: Told about progress.
        dtype: Of the saved weights; None for the base's.
        trust_code: Whether code that comes with the model may run, if the spec asks for it.

    Returns:
        The run's summary, and under `saved` the dtype of the saved model and what rounding to it
        cost.

    Raises:
        SpecError: The run folder holds a run of another spec, or the output is taken.
        NumericalError: The model's numbers, or an update's, are not finite.
    """
    if (folder / "spec.yaml").exists():
        _check_same(spec, folder)
        summary = resume(folder, observer, sinks=spec.sinks, trust_code=trust_code)
    else:
        summary = start(spec, folder, observer, trust_code=trust_code)
    check_made(folder)
    done = export_run(folder, out, "hf", dtype=dtype, trust_code=trust_code)
    saved = None if done.rounding is None else asdict(done.rounding)
    return {**summary, "saved": saved}


def _check_same(spec: RunSpec, folder: Path) -> None:
    """Refuse to take another run's edits for the ones that were asked for."""
    stored = load_spec(folder / "spec.yaml")
    given = spec
    extra = spec.editor.model_extra or {}
    left_open = {key for key, value in extra.items() if value is None} | set(spec.editor.fit or ())
    # What was left open, such as lambda, was chosen by the run and written into the stored spec.
    chosen = {key: (stored.editor.model_extra or {}).get(key) for key in left_open}
    editor = spec.editor.model_copy(update={**chosen, "fit": stored.editor.fit})
    given = given.model_copy(update={"editor": editor})
    if spec.guard.energy == "auto":
        chosen = {"energy": stored.guard.energy}
        given = given.model_copy(update={"guard": spec.guard.model_copy(update=chosen)})
    # Where else the journal goes changes nothing of the edits.
    given = given.model_copy(update={"sinks": stored.sinks})
    if dump_spec(given) != dump_spec(stored):
        raise SpecError(
            f"{folder}: holds a run with other settings or edits; continue that one with 'revive "
            f"resume {folder}', or name another folder with --run."
        )
