"""The model card of an exported model: what was done to it, and what was measured. No torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard, ModelCardData

from revive.io.yaml_text import format_yaml
from revive.metrics.per_edit import took
from revive.run_folder.summary import standing
from revive.sources.named import named
from revive.sources.source import looks_like_path, stored_as
from revive.spec.schema import RunSpec
from revive.wording import counted

_SHOWN = {
    "efficacy": "new object preferred to the old one, over the measured edits",
    "efficacy_exact": "new object generated exactly",
    "paraphrase": "new object preferred, in other words",
    "paraphrase_exact": "new object generated exactly, in other words",
    "neighborhood": "other facts of the same kind that stayed",
    "score": "harmonic mean of efficacy, paraphrase and neighborhood",
    "general": "general ability (lab battery; 0 is guessing)",
    "fact_recall": "facts that were never edited, generated exactly",
    "perplexity": "of held-out text",
    "weight_norm_ratio": "norm of the edited weights over that of the original ones",
}
_QUANTIZED = (
    "What each fact should look like inside the model was solved, and everything below measured, "
    "on the base quantised to {}. The edited weights here are the unquantised base's plus the "
    "updates, in full precision; all others are the unquantised base's own."
)
_WHY = {
    "memit-seq": "The editor keeps the keys of earlier batches in its least squares, so that later "
    "batches leave their answers alone.",
    "revive": "The guard keeps every update out of the directions in which the original weights "
    "are largest; for a few batches of a language model that cost no edit success that was "
    "measured.",
}
LEAK = (
    "What was edited can be read from the difference to the base: published work recovers the "
    "subjects of edits from their low-rank updates (arXiv 2602.10134). Share this no wider than "
    "the facts themselves."
)
"""What whoever passes an edited model on should know."""

_KEPT = ("license", "license_name", "license_link", "language", "pipeline_tag")


@dataclass(frozen=True, slots=True)
class Rounding:
    """What the edited weights lose where they are saved in fewer bits than they were edited in.

    Attributes:
        dtype: Of the saved weights, e.g. `bfloat16`.
        edited_in: Of the model, e.g. `float32`.
        share: Frobenius norm of what rounding changes, over that of the edits, all weights
            together; 0 where nothing is rounded.
    """

    dtype: str
    edited_in: str
    share: float


@dataclass(frozen=True)
class Made:
    """What a card is about.

    Attributes:
        spec: The run's, resolved.
        step: Batches in the model.
        edits: Edits in it.
        failed: Edits of these batches that could not be made.
        removed: Edits of these batches that were taken out again.
        unedited: Metrics before the first edit.
        measured: Metrics of the model as it is; empty if it was not measured at this batch.
        answers: Edits that stand, were asked, and took; None if that was not asked of it.
        sample: Edits that were measured, where that is a sample.
        base: Fingerprint of the base.
        edited: Fingerprint of the model, or SHA-256 of its file.
        version: Of this package.
        rounding: What saving cost the edited weights.
        kept: And the edits, as a sentence; empty where they were not asked for again.
    """

    spec: RunSpec
    step: int
    edits: int
    failed: int
    removed: int
    unedited: Mapping[str, float]
    measured: Mapping[str, float]
    answers: Mapping[str, int] | None
    sample: int | None
    base: str
    edited: str
    version: str
    rounding: Rounding | None = None
    kept: str = ""


def made(
    spec: RunSpec,
    events: Sequence[Mapping[str, Any]],
    step: int,
    *,
    base: str,
    edited: str,
    version: str,
) -> Made:
    """What a run's journal says of its model after a batch.

    What was measured before an edit of these batches was taken out is of another model, and left
    out.

    Args:
        spec: The run's, resolved.
        events: Its journal.
        step: Batches in the model.
        base: Fingerprint of the base.
        edited: Fingerprint of the model.
        version: Of this package.
    """
    unedited: dict[str, float] = {}
    measured: dict[str, float] = {}
    sample: int | None = None
    present: set[str] = set()
    gone: set[str] = set()
    answers: Mapping[str, int] | None = None
    failed = 0
    for event in standing(events):
        kind = event["event"]
        if kind == "batch" and event["step"] <= step:
            present.update(event["made"])
            failed += len(event["failed"])
        elif kind == "rollback" and event.get("edit") in present:
            gone.add(event["edit"])
            measured.clear()
            answers = None
        elif kind == "measure" and event["step"] == 0:
            unedited.update(event["metrics"])
        if kind == "measure" and event["step"] == step and step > 0:
            measured.update(event["metrics"])
            sample = event.get("sample") or sample
        if event["step"] == step:
            answers = event.get("answers") or answers
    return Made(
        spec,
        step,
        edits=len(present - gone),
        failed=failed,
        removed=len(gone),
        unedited=unedited,
        measured=measured,
        answers=answers,
        sample=sample,
        base=base,
        edited=edited,
        version=version,
    )


def model_card(about: Made, base: Path | None, file: str = "") -> str:
    """Markdown with a head that the hub reads.

    Args:
        about: What it is about.
        base: Folder of the base model, whose own card knows licence and language.
        file: A section on the GGUF file that it is a card of, `edited` then being its SHA-256;
            empty for a model folder.
    """
    name = public_name(about.spec.model.name)
    left_out = "".join(
        f" {count:,} {what}."
        for count, what in (
            (about.failed, "more could not be made"),
            (about.removed, "were taken out again"),
        )
        if count
    )
    if about.answers is not None:
        left_out += f" {took(**about.answers)}."
    sections = [
        f"# {name}, edited",
        f"{about.edits:,} {'fact was' if about.edits == 1 else 'facts were'} changed in "
        f"{counted(about.step, 'batch')} with "
        f"[REVIVE](https://arxiv.org/abs/2601.11042), editor `{about.spec.editor.name}`, guard "
        f"`{about.spec.guard.title}`.{left_out}",
        *([" ".join(why)] if (why := _why(about.spec)) else []),
        *([_QUANTIZED.format(about.spec.model.quantize)] if about.spec.model.quantize else []),
        *([f"The base is a {stored}."] if (stored := stored_as(about.spec.model.name)) else []),
        *([words] if about.rounding is not None and (words := told(about.rounding)) else []),
        *([about.kept] if about.kept else []),
        *([file] if file else []),
        LEAK,
        "## Measured",
        _table(about),
        "## Recipe",
        f"```yaml\n{format_yaml(_recipe(about.spec))}```",
        "## Identity",
        f"- base: `{name}`, fingerprint `{about.base}`\n"
        f"- this {'file: SHA-256' if file else 'model: fingerprint'} `{about.edited}`\n"
        f"- made by revive-edit {about.version}; `revive evaluate` prints the fingerprint of any "
        f"model, loaded in {about.spec.model.dtype} as here",
    ]
    head = _head(name, base, "gguf" if file else "transformers").to_yaml()
    return f"---\n{head}\n---\n\n" + "\n\n".join(sections) + "\n"


def factors_card(model: str, form: str, edits: int) -> str:
    """The README of an exported delta or adapter.

    Args:
        model: The base's name.
        form: `delta` or `adapter`.
        edits: Facts in it.
    """
    facts = counted(edits, "edited fact")
    return f"# {public_name(model)}: {form} of {facts}\n\nMade by revive-edit.\n\n{LEAK}\n"


def told(rounding: Rounding) -> str:
    """What saving cost, in words; empty where it cost nothing."""
    if rounding.share == 0:
        return ""
    return (
        f"Weights are in {rounding.dtype}; rounding the edited ones to it from "
        f"{rounding.edited_in}, in which they were edited and measured, changed them by "
        f"{rounding.share:.2g} times what the edits changed."
    )


def _head(name: str, base: Path | None, library: str) -> ModelCardData:
    """What the hub shows beside a card."""
    kept: dict[str, Any] = {}
    if base is not None and (base / "README.md").is_file():
        text = (base / "README.md").read_text(encoding="utf-8", errors="replace")
        # A head that the hub would not take is no reason to have none.
        known = ModelCard(text, ignore_metadata_errors=True).data.to_dict()
        kept = {key: known[key] for key in _KEPT if known.get(key) is not None}
    data = ModelCardData(
        base_model=name,
        base_model_relation="finetune",
        library_name=library,
        pipeline_tag="text-generation",
        tags=["model-editing", "knowledge-editing", "revive"],
    )
    for key, value in kept.items():
        setattr(data, key, value)
    return data


def _why(spec: RunSpec) -> list[str]:
    """Why this editor and this guard, where they are what an everyday edit takes."""
    return [_WHY[name] for name in (spec.editor.name, spec.guard.name) if name in _WHY]


def _table(about: Made) -> str:
    if not about.measured:
        return "Nothing was measured of the model at this batch."
    over = about.edits if about.sample is None else about.sample
    rows = [
        f"| {name} | {_number(about.unedited, name)} | {_number(about.measured, name)} | {text} |"
        for name, text in {**_SHOWN, **_texts(about.measured)}.items()
        if name in about.measured
    ]
    head = ["| metric | unedited | edited | |", "|---|---|---|---|"]
    return "\n".join([f"Over {over:,} of the edits.", "", *head, *rows])


def _texts(measured: Mapping[str, float]) -> dict[str, str]:
    """Perplexities of texts of the user's own."""
    found = (name for name in measured if name.startswith("perplexity_"))
    return {name: f"perplexity of {name.removeprefix('perplexity_')}" for name in found}


def _recipe(spec: RunSpec) -> dict[str, Any]:
    """The part of a spec that says what was done; files by their names, not their places."""
    text = spec.moments.text
    return {
        "model": {"dtype": spec.model.dtype, "revision": spec.model.revision},
        "edits": {**spec.edits.model_dump(), "path": Path(spec.edits.path).name},
        "editor": spec.editor.model_dump(),
        "guard": spec.guard.model_dump(),
        **({} if spec.repair is None else {"repair": spec.repair.model_dump()}),
        "moments": {
            **spec.moments.model_dump(),
            "text": [Path(path).name for path in text] if isinstance(text, list) else text,
        },
        "seed": spec.seed,
    }


def public_name(name: str) -> str:
    """A model's name as others know it: of one of ours the hub's, of a folder its last part."""
    known = named(name)
    if known is not None and known.hub:
        return known.hub
    return Path(name).name if looks_like_path(name) or Path(name).is_dir() else name


def _number(values: Mapping[str, float], name: str) -> str:
    value = values.get(name)
    return "-" if value is None else f"{float(value):.4g}"
