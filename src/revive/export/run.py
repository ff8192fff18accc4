"""`revive export`: a run's model at some batch, in one of three forms."""

from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from revive.errors import SpecError
from revive.export.card import Rounding, made, model_card, told
from revive.export.delta import FILE, Delta
from revive.export.folder import changed_weights, save_folder
from revive.export.lora import save_lora
from revive.export.rounding import rounding
from revive.export.totals import Total, totals
from revive.models.fingerprint import model_fingerprint
from revive.models.loading import model_source
from revive.models.saving import appearing
from revive.models.stored_dtype import NAMES, saved_dtype
from revive.paths import refuse_taken
from revive.run_folder.journal import Journal
from revive.run_folder.store import RunFolder
from revive.run_folder.summary import removed, standing
from revive.runs.rebuild import RebuiltModel, rebuild

Form = Literal["hf", "delta", "lora"]


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        path: Where.
        form: As asked.
        step: Batches in it.
        edits: Edits in it.
        ranks: Columns by parameter name; empty for `hf`.
        errors: Frobenius norm that the rank leaves out, over that of what was written, by
            parameter name; empty for `hf`.
        rounding: What saving cost the edited weights; of `hf`.
        note: What a user should know.
    """

    path: Path
    form: Form
    step: int
    edits: int
    ranks: dict[str, int]
    errors: dict[str, float]
    rounding: Rounding | None
    note: str


def export_run(
    folder: Path,
    out: Path,
    form: Form,
    *,
    step: int | None = None,
    rank: int | None = None,
    dtype: str | None = None,
    trust_code: bool = False,
) -> Exported:
    """Export a run.

    Args:
        folder: The run folder; it may be unfinished.
        out: Folder to write; appears whole or not at all.
        form: `hf` for a model folder, `delta` for factors, `lora` for a PEFT adapter.
        step: After this batch; the last committed one if None.
        dtype: Of the weights of a model folder; None for the base's.
        trust_code: Whether code that comes with the model may run, if the spec asks for it.
        rank: Of an adapter: at most so many columns; None for as many as it needs to be exact.

    Raises:
        SpecError: Not a run folder, no such batch, or `out` is not free.
        PrerequisiteError: The disk is full.
    """
    if rank is not None and form != "lora":
        raise SpecError(f"--rank: only an adapter has one; {form} is always whole.")
    if dtype is not None and form != "hf":
        raise SpecError(f"--dtype: only a model folder has one; {form} is always in float32.")
    if dtype is not None and dtype not in NAMES:
        raise SpecError(f"--dtype: {dtype!r} is unknown; use one of {', '.join(NAMES)}.")
    if rank is not None and rank < 1:
        raise SpecError("--rank: give at least 1.")
    refuse_taken(out)
    rebuilt = rebuild(folder, step, lazily=True, trust_code=trust_code)
    edits = _edits_in(folder, rebuilt.step)
    written = {} if form == "hf" else totals(rebuilt.ledger, rank)
    cost = None
    if form == "hf":
        cost, note = _hf(rebuilt, folder, out, dtype)
    else:
        note = _WRITERS[form](rebuilt, written, out)
    return Exported(
        out,
        form,
        rebuilt.step,
        edits,
        {k: t.factors.rank for k, t in written.items()},
        {k: t.error for k, t in written.items()},
        cost,
        note,
    )


def _hf(rebuilt: RebuiltModel, folder: Path, out: Path, wanted: str | None) -> tuple[Rounding, str]:
    loaded, ledger = rebuilt.loaded, rebuilt.ledger
    dtype = saved_dtype(wanted, loaded.stored, loaded.model.dtype)
    deltas = {key: ledger.delta(key) for key in ledger.used}
    cost = rounding(changed_weights(loaded, ledger), deltas, dtype)
    about = made(
        rebuilt.spec,
        Journal.read(RunFolder.open(folder).journal),
        rebuilt.step,
        base=loaded.fingerprint,
        edited=model_fingerprint(loaded.model, dtype),
        version=version("revive-edit"),
    )
    about = replace(about, rounding=cost)
    base = model_source(loaded.name, rebuilt.spec.model.revision)
    kept = save_folder(loaded, ledger, base, out, model_card(about, base), dtype)
    files = (
        "Files without an edited weight are the base's own."
        if kept
        else f"All weights were written anew, in {cost.dtype}."
    )
    return cost, f"{files} {told(cost)}".strip()


def _delta(rebuilt: RebuiltModel, written: dict[str, Total], out: Path) -> str:
    loaded, ledger = rebuilt.loaded, rebuilt.ledger
    # The fingerprint with the delta on is that of what `apply` will make, rounding included.
    ledger.reset()
    delta = Delta(
        {k: t.factors for k, t in written.items() if t.factors.rank > 0},
        loaded.name,
        loaded.fingerprint,
        str(next(loaded.model.parameters()).dtype),
        "",
    )
    delta.apply(loaded.model)
    edited = model_fingerprint(loaded.model)
    with appearing(out) as partial:
        Delta(delta.updates, delta.model, delta.base, delta.dtype, edited).save(partial / FILE)
    return "In Python: revive.Delta.load(path).apply(model), and .remove(model)."


def _lora(rebuilt: RebuiltModel, written: dict[str, Total], out: Path) -> str:
    mixture = rebuilt.loaded.family.experts is not None
    save_lora(written, rebuilt.ledger.sites, rebuilt.loaded.name, out, mixture=mixture)
    return "In Python: peft.PeftModel.from_pretrained(base, path)."


_WRITERS = {"delta": _delta, "lora": _lora}


def _edits_in(folder: Path, step: int) -> int:
    events = Journal.read(RunFolder.open(folder).journal)
    batches = [e for e in standing(events) if e["event"] == "batch" and e["step"] <= step]
    return len({i for e in batches for i in e["made"]} - removed(events))
