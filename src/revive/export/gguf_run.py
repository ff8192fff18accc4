"""A run's model as a GGUF file, or its edits as an adapter for one, asked again in llama.cpp."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from revive.errors import PrerequisiteError, SpecError
from revive.export.card import Made, Rounding, made, model_card, told
from revive.export.engine_check import EngineCheck, check
from revive.export.gguf_file import NewTensor, read_original, rewrite
from revive.export.gguf_lora import save_gguf_lora
from revive.export.gguf_original import original_file, require_original
from revive.export.gguf_sites import architecture_of, matched
from revive.export.gguf_types import DEFAULT, Kind, fitting, kind_of, rounded, writable
from revive.export.llama_cpp import missing
from revive.export.questions import questions, reached_before
from revive.export.totals import Total
from revive.io.atomic import write_text
from revive.models.ledger import Ledger
from revive.models.loading import model_source
from revive.progress import Told
from revive.run_folder.journal import Journal
from revive.run_folder.store import RunFolder
from revive.runs.rebuild import RebuiltModel
from revive.sources.gguf import Head


@dataclass(frozen=True, slots=True)
class GgufOptions:
    """How a GGUF file is written.

    Attributes:
        original: The model's original file; None where it was read from one.
        dtype: Of edited tensors; None for what keeps the edits.
        keep_type: Whether they stay in the type that they have in the original.
        check: Whether llama.cpp is asked for the edits afterwards.
    """

    original: Path | None = None
    dtype: str | None = None
    keep_type: bool = False
    check: bool = True


@dataclass(frozen=True)
class WrittenGguf:
    """What became of it.

    Attributes:
        types: Of edited tensors, by parameter name; empty for an adapter.
        rounding: What they cost; None for an adapter.
        engine: What llama.cpp answers; None where it was not asked.
        note: What a user should know.
    """

    types: dict[str, str]
    rounding: Rounding | None
    engine: EngineCheck | None
    note: str


def card_of(file: Path) -> Path:
    """Where the card of a written file is."""
    return file.with_suffix(".md")


def refuse_file(out: Path) -> None:
    """Refuse a place that no finished file can take, before any work is done.

    Raises:
        SpecError: Something is there, or it is no name of a GGUF file.
    """
    if out.suffix.lower() != ".gguf":
        raise SpecError(f"{out}: name a file that ends in .gguf; one file is written, no folder.")
    for path in (out, card_of(out)):
        if path.exists():
            raise SpecError(f"{path} exists; choose another name.")


def save_gguf(
    rebuilt: RebuiltModel, folder: Path, out: Path, edits: int, options: GgufOptions, tell: Told
) -> WrittenGguf:
    """Write the original file anew with the edited weights in it.

    Args:
        rebuilt: The run's model at some batch.
        folder: The run folder.
        out: The file; a card is written beside it.
        edits: How many are in the model.
        options: How.
        tell: Called with progress.

    Raises:
        SpecError: There is no original file, or it is of another model.
        PrerequisiteError: The disk is full, or llama.cpp cannot run the file.
    """
    original = require_original(rebuilt.spec.model.name, options.original, tell)
    head = read_original(original, "--gguf")
    names = matched(original, head, rebuilt.ledger)
    kinds = {key: _kind(head, name, options) for key, name in names.items()}
    kinds = {key: fitting(kind, _weight(rebuilt.ledger, key)) for key, kind in kinds.items()}
    cost = _cost(rebuilt.ledger, kinds)
    tensors = {
        name: NewTensor(kinds[key], lambda key=key: _weight(rebuilt.ledger, key))
        for key, name in names.items()
    }
    rewrite(original, head, out, tensors, _said(rebuilt, edits, names), tell)
    engine, more = _checked(rebuilt, folder, original, out, options, tell, adapter=False)
    instead = _instead(head, names, kinds) if options.keep_type else ""
    text = " ".join(part for part in (instead, told(cost), more) if part)
    about = _about(rebuilt, folder, out)
    _write_card(replace(about, rounding=cost), rebuilt, out, _tensors(names, kinds), more)
    types = {key: kind.name for key, kind in kinds.items()}
    return WrittenGguf(types, cost, engine, f"All other tensors are the original's own. {text}")


def save_adapter(
    rebuilt: RebuiltModel,
    folder: Path,
    out: Path,
    written: Mapping[str, Total],
    edits: int,
    options: GgufOptions,
    tell: Told,
) -> WrittenGguf:
    """Write the edits as an adapter; see `save_gguf`.

    Args:
        rebuilt: The run's model at some batch.
        folder: The run folder.
        out: The file; a card is written beside it.
        written: What the run wrote, as factors.
        edits: How many are in the model.
        options: How.
        tell: Called with progress.
    """
    original = original_file(rebuilt.spec.model.name, options.original, tell)
    if original is None:
        architecture = architecture_of(rebuilt.loaded.model.config.model_type)
    else:
        head = read_original(original, "--gguf")
        matched(original, head, rebuilt.ledger)
        architecture = head.architecture
    sites = rebuilt.ledger.sites
    said = _said(rebuilt, edits, {})
    rank = save_gguf_lora(written, sites, architecture, said, out)
    if original is None:
        engine, more = None, "Without --gguf BASE.gguf there is no file to ask llama.cpp with."
    else:
        engine, more = _checked(rebuilt, folder, original, out, options, tell, adapter=True)
    used = (
        f"An adapter of rank {rank} for the base's GGUF file: "
        f"`llama-cli -m BASE.gguf --lora {out.name}`."
    )
    _write_card(_about(rebuilt, folder, out), rebuilt, out, used, more)
    return WrittenGguf({}, None, engine, f"All tensors have rank {rank}. {more}")


def _checked(
    rebuilt: RebuiltModel,
    folder: Path,
    original: Path,
    out: Path,
    options: GgufOptions,
    tell: Told,
    *,
    adapter: bool,
) -> tuple[EngineCheck | None, str]:
    if not options.check:
        return None, ""
    if lacking := missing():
        return None, lacking
    try:
        asked = questions(folder, rebuilt)
    except SpecError as error:
        return None, f"llama.cpp was not asked for the edits: {error}"
    before = reached_before(folder, rebuilt, asked)
    try:
        engine = check(original, asked, before, tell, written=out, adapter=adapter)
    except PrerequisiteError as error:
        raise PrerequisiteError(f"{out} is written; {error}") from error
    return engine, engine.told()


def _kind(head: Head, name: str, options: GgufOptions) -> Kind:
    """What an edited tensor is written in."""
    if options.dtype is not None:
        return kind_of(options.dtype)
    try:
        held = Kind(head.tensors[name].kind)
    except ValueError:  # of a type that is newer than the gguf package
        return DEFAULT
    if options.keep_type:
        return writable(held)
    return held if held in (Kind.F32, Kind.F16) else DEFAULT


def _weight(ledger: Ledger, key: str) -> NDArray[np.float32]:
    """`[d_out, d_in]`, never rounded before."""
    return ledger.weight(key).float().cpu().numpy()


def _cost(ledger: Ledger, kinds: Mapping[str, Kind]) -> Rounding:
    """What rounding does to the edited weights."""
    lost = size = 0.0
    for key, kind in kinds.items():
        weight = _weight(ledger, key)
        lost += float(np.square(rounded(weight, kind) - weight, dtype=np.float64).sum())
        size += float(ledger.delta(key).double().square().sum())
    names = ", ".join(sorted({kind.name for kind in kinds.values()}))
    return Rounding(names, "float32", (lost / size) ** 0.5)


def _instead(head: Head, names: Mapping[str, str], kinds: Mapping[str, Kind]) -> str:
    """Which types were taken instead of the original's, as a sentence; empty where none."""
    pairs = {(head.tensors[name].kind, kinds[key]) for key, name in names.items()}
    told = [f"{new.name} instead of {_named(old)}" for old, new in sorted(pairs) if new != old]
    if not told:
        return ""
    return f"Edited tensors are in {', '.join(told)}, which only llama.cpp's own tools can write."


def _named(kind: int) -> str:
    try:
        return Kind(kind).name
    except ValueError:
        return f"type {kind}"


def _said(rebuilt: RebuiltModel, edits: int, names: Mapping[str, str]) -> dict[str, str | int]:
    found: dict[str, str | int] = {
        "revive.version": version("revive-edit"),
        "revive.base": rebuilt.loaded.fingerprint,
        "revive.editor": rebuilt.spec.editor.name,
        "revive.guard": rebuilt.spec.guard.title,
        "revive.edits": edits,
        "revive.batches": rebuilt.step,
    }
    return {**found, **({"revive.tensors": " ".join(names.values())} if names else {})}


def _about(rebuilt: RebuiltModel, folder: Path, out: Path) -> Made:
    with out.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return made(
        rebuilt.spec,
        Journal.read(RunFolder.open(folder).journal),
        rebuilt.step,
        base=rebuilt.loaded.fingerprint,
        edited=digest,
        version=version("revive-edit"),
    )


def _tensors(names: Mapping[str, str], kinds: Mapping[str, Kind]) -> str:
    written = ", ".join(f"`{name}` ({kinds[key].name})" for key, name in names.items())
    return (
        f"Written anew are {written}; every other tensor is the original file's own, byte for byte."
    )


def _write_card(about: Made, rebuilt: RebuiltModel, out: Path, what: str, more: str) -> None:
    base = model_source(rebuilt.loaded.name, rebuilt.spec.model.revision)
    section = "\n\n".join(part for part in ("## In llama.cpp", what, more) if part)
    write_text(card_of(out), model_card(about, base, file=section))
