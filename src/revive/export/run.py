"""`revive export`: a run's model at some batch, in one of five forms."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from torch import Tensor

from revive.errors import SpecError
from revive.export.card import LEAK, Rounding, factors_card, made, model_card, told
from revive.export.delta import FILE, Delta
from revive.export.engine_check import EngineCheck
from revive.export.folder import changed_weights, save_folder
from revive.export.gguf_run import GgufOptions, refuse_file, save_adapter, save_gguf
from revive.export.gguf_types import kind_of
from revive.export.kept_edits import KeptEdits, kept_edits
from revive.export.lora import SERVED, save_lora, served_rank
from revive.export.rounding import rounding
from revive.export.totals import Total, totals, written_factors
from revive.models.fingerprint import model_fingerprint
from revive.models.ledger import Ledger
from revive.models.loading import model_source
from revive.models.saving import appearing
from revive.models.stored_dtype import NAMES, saved_dtype
from revive.paths import refuse_taken
from revive.progress import Told
from revive.run_folder.journal import Journal
from revive.run_folder.store import RunFolder
from revive.run_folder.summary import removed, standing
from revive.runs.rebuild import RebuiltModel, rebuild

Form = Literal["hf", "delta", "lora", "gguf", "gguf-lora"]

_FILES = ("gguf", "gguf-lora")


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        path: Where.
        form: As asked.
        step: Batches in it.
        edits: Edits in it.
        ranks: Columns by parameter name; empty for a whole model.
        errors: Frobenius norm that the rank leaves out, over that of what was written, by
            parameter name; empty for a whole model.
        rounding: What saving cost the edited weights; of a whole model.
        note: What a user should know.
        kept: Edits asked again, where what was written is not all of what the edits changed.
        types: Of edited tensors by parameter name; of `gguf`.
        engine: What llama.cpp answers; of `gguf` and `gguf-lora`, if it was asked.
    """

    path: Path
    form: Form
    step: int
    edits: int
    ranks: dict[str, int]
    errors: dict[str, float]
    rounding: Rounding | None
    note: str
    kept: KeptEdits | None = None
    types: dict[str, str] = field(default_factory=dict[str, str])
    engine: EngineCheck | None = None


def export_run(
    folder: Path,
    out: Path,
    form: Form,
    *,
    step: int | None = None,
    rank: int | None = None,
    dtype: str | None = None,
    trust_code: bool = False,
    gguf: Path | None = None,
    keep_type: bool = False,
    check: bool = True,
    tell: Told = lambda _phase, _done, _total: None,
) -> Exported:
    """Export a run.

    Args:
        folder: The run folder; it may be unfinished.
        out: Folder or file to write; appears whole or not at all.
        form: `hf` for a model folder, `delta` for factors, `lora` for a PEFT adapter, `gguf` for
            one file, `gguf-lora` for an adapter for one.
        step: After this batch; the last committed one if None.
        dtype: Of the weights of a model folder, None for the base's; of the edited tensors of a
            GGUF file, None for what keeps the edits.
        trust_code: Whether code that comes with the model may run, if the spec asks for it.
        rank: Of an adapter: at most so many columns; None for as many as it needs to be exact.
        gguf: The model's original GGUF file, where it was not read from one.
        keep_type: Whether edited tensors of a GGUF file stay in the type that they have there.
        check: Whether the edits are asked for again: in llama.cpp of a GGUF file, in the model
            itself where weights were rounded or an adapter is not exact.
        tell: Called with the progress of GGUF files.

    Raises:
        SpecError: Not a run folder, no such batch, or `out` is not free.
        PrerequisiteError: The disk is full, or llama.cpp cannot run what was written.
    """
    _refuse_options(form, rank, dtype, gguf, keep_type=keep_type)
    (refuse_file if form in _FILES else refuse_taken)(out)
    rebuilt = rebuild(folder, step, lazily=True, trust_code=trust_code)
    edits = _edits_in(folder, rebuilt.step)
    written = {} if form in ("hf", "gguf") else _totals(folder, rebuilt, rank)
    done = Exported(
        out,
        form,
        rebuilt.step,
        edits,
        {k: t.factors.rank for k, t in written.items()},
        {k: t.error for k, t in written.items()},
        None,
        "",
    )
    if form == "hf":
        cost, kept, note = _hf(rebuilt, folder, out, dtype, check=check)
        return replace(done, rounding=cost, kept=kept, note=note)
    kept, more = (
        kept_edits(folder, rebuilt, _put_on(rebuilt.ledger, written))
        if check and any(done.errors.values())
        else (None, "")
    )
    if form == "delta" or form == "lora":
        what = "adapter" if form == "lora" else form
        card = factors_card(rebuilt.loaded.name, what, edits)
        note = f"{_WRITERS[form](rebuilt, written, out, card)} {more}".strip()
        return replace(done, kept=kept, note=note)
    options = GgufOptions(gguf, dtype, keep_type, check)
    made = (
        save_gguf(rebuilt, folder, out, edits, options, tell)
        if form == "gguf"
        else save_adapter(rebuilt, folder, out, written, edits, options, tell)
    )
    return replace(
        done,
        rounding=made.rounding,
        kept=kept,
        note=f"{made.note} {more}".strip(),
        types=made.types,
        engine=made.engine,
    )


def _totals(folder: Path, rebuilt: RebuiltModel, rank: int | None) -> dict[str, Total]:
    return totals(rebuilt.ledger, rank, written_factors(folder, rebuilt))


def _put_on(ledger: Ledger, written: Mapping[str, Total]) -> dict[str, Tensor]:
    """The edited weights with an adapter on, `[d_out, d_in]`."""
    return {
        key: ledger.original(key) + total.factors.dense().to(ledger.original(key))
        for key, total in written.items()
    }


def _refuse_options(
    form: Form, rank: int | None, dtype: str | None, gguf: Path | None, *, keep_type: bool
) -> None:
    """Refuse options that a form does not have, before any work is done."""
    if rank is not None and form not in ("lora", "gguf-lora"):
        raise SpecError(f"--rank: only an adapter has one; {form} is always whole.")
    if dtype is not None and form not in ("hf", "gguf"):
        raise SpecError(f"--dtype: only a whole model has one; {form} is always in float32.")
    if dtype is not None and form == "hf" and dtype not in NAMES:
        raise SpecError(f"--dtype: {dtype!r} is unknown; use one of {', '.join(NAMES)}.")
    if rank is not None and rank < 1:
        raise SpecError("--rank: give at least 1.")
    if gguf is not None and form not in _FILES:
        raise SpecError(f"--gguf: {form} is not written into a GGUF file; give --format gguf.")
    if keep_type and (form != "gguf" or dtype is not None):
        raise SpecError("--keep-type: it is for --format gguf, and instead of --dtype.")
    if dtype is not None and form == "gguf":
        kind_of(dtype)


def _hf(
    rebuilt: RebuiltModel, folder: Path, out: Path, wanted: str | None, *, check: bool
) -> tuple[Rounding, KeptEdits | None, str]:
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
    kept, more = None, ""
    if check and cost.share > 0:
        ends = {key: ledger.weight(key).to(dtype) for key in deltas}
        kept, more = kept_edits(folder, rebuilt, ends)
    about = replace(about, rounding=cost, kept=more)
    base = model_source(loaded.name, rebuilt.spec.model.revision)
    own = save_folder(loaded, ledger, base, out, model_card(about, base), dtype)
    files = (
        "Files without an edited weight are the base's own."
        if own
        else f"All weights were written anew, in {cost.dtype}."
    )
    return cost, kept, " ".join(part for part in (files, told(cost), more) if part)


def _delta(rebuilt: RebuiltModel, written: dict[str, Total], out: Path, card: str) -> str:
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
        (partial / "README.md").write_text(card, encoding="utf-8")
    return f"In Python: revive.Delta.load(path).apply(model), and .remove(model). {LEAK}"


def _lora(rebuilt: RebuiltModel, written: dict[str, Total], out: Path, card: str) -> str:
    mixture = rebuilt.loaded.family.experts is not None
    save_lora(written, rebuilt.ledger.sites, rebuilt.loaded.name, out, card, mixture=mixture)
    return f"In Python: peft.PeftModel.from_pretrained(base, path). {_for_vllm(written)} {LEAK}"


def _for_vllm(written: Mapping[str, Total]) -> str:
    """At which rank vLLM takes an adapter, as a sentence."""
    needed = max(total.factors.rank for total in written.values())
    if needed > SERVED[-1]:
        return (
            f"vLLM has room for rank {SERVED[-1]}, and these edits need {needed}: exactly, it "
            f"cannot serve them; --rank {SERVED[-1]} writes the best adapter that it can."
        )
    rank = served_rank(needed)
    filled = f", filled up with zeros from {needed}" if rank != needed else ""
    return f"Its rank is {rank}{filled}; vLLM: --enable-lora --max-lora-rank {rank}."


_WRITERS = {"delta": _delta, "lora": _lora}


def _edits_in(folder: Path, step: int) -> int:
    events = Journal.read(RunFolder.open(folder).journal)
    batches = [e for e in standing(events) if e["event"] == "batch" and e["step"] <= step]
    return len({i for e in batches for i in e["made"]} - removed(events))
