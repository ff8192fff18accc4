"""`revive export`: a run's model at some batch, in one of three forms."""

from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from revive.errors import SpecError
from revive.export.card import made, model_card
from revive.export.delta import FILE, Delta
from revive.export.folder import save_folder
from revive.export.lora import save_lora
from revive.export.totals import Total, totals
from revive.models.fingerprint import model_fingerprint
from revive.models.loading import model_source
from revive.models.saving import appearing
from revive.runs.journal import Journal
from revive.runs.rebuild import Rebuilt, rebuild
from revive.runs.store import RunFolder
from revive.runs.summary import removed, standing

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
        note: What a user should know.
    """

    path: Path
    form: Form
    step: int
    edits: int
    ranks: dict[str, int]
    errors: dict[str, float]
    note: str


def export_run(
    folder: Path, out: Path, form: Form, *, step: int | None = None, rank: int | None = None
) -> Exported:
    """Export a run.

    Args:
        folder: The run folder; it may be unfinished.
        out: Folder to write; appears whole or not at all.
        form: `hf` for a model folder, `delta` for factors, `lora` for a PEFT adapter.
        step: After this batch; the last committed one if None.
        rank: Of an adapter: at most so many columns; None for as many as it needs to be exact.

    Raises:
        SpecError: Not a run folder, no such batch, or `out` is not free.
        PrerequisiteError: The disk is full.
    """
    if rank is not None and form != "lora":
        raise SpecError(f"--rank: only an adapter has one; {form} is always whole.")
    if rank is not None and rank < 1:
        raise SpecError("--rank: give at least 1.")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise SpecError(f"{out} exists and is not empty; choose another folder.")
    rebuilt = rebuild(folder, step, lazily=True)
    edits = _edits_in(folder, rebuilt.step)
    written = {} if form == "hf" else totals(rebuilt.ledger, rank)
    note = _WRITERS[form](rebuilt, written, folder, edits, out)
    return Exported(
        out,
        form,
        rebuilt.step,
        edits,
        {k: t.factors.rank for k, t in written.items()},
        {k: t.error for k, t in written.items()},
        note,
    )


def _hf(rebuilt: Rebuilt, written: dict[str, Total], folder: Path, edits: int, out: Path) -> str:
    del written
    del edits
    about = made(
        rebuilt.spec,
        Journal.read(RunFolder.open(folder).journal),
        rebuilt.step,
        base=rebuilt.loaded.fingerprint,
        edited=model_fingerprint(rebuilt.loaded.model),
        version=version("revive-edit"),
    )
    base = model_source(rebuilt.loaded.name, rebuilt.spec.model.revision)
    kept = save_folder(rebuilt.loaded, rebuilt.ledger, base, out, model_card(about, base))
    return (
        "Files without an edited weight are the base's own."
        if kept
        else "All weights were written anew, in the dtype that the run edited in."
    )


def _delta(rebuilt: Rebuilt, written: dict[str, Total], folder: Path, edits: int, out: Path) -> str:
    del folder, edits
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


def _lora(rebuilt: Rebuilt, written: dict[str, Total], folder: Path, edits: int, out: Path) -> str:
    del folder, edits
    mixture = rebuilt.loaded.family.experts is not None
    save_lora(written, rebuilt.ledger.sites, rebuilt.loaded.name, out, mixture=mixture)
    return "In Python: peft.PeftModel.from_pretrained(base, path)."


_WRITERS = {"hf": _hf, "delta": _delta, "lora": _lora}


def _edits_in(folder: Path, step: int) -> int:
    events = Journal.read(RunFolder.open(folder).journal)
    batches = [e for e in standing(events) if e["event"] == "batch" and e["step"] <= step]
    return len({i for e in batches for i in e["made"]} - removed(events))
