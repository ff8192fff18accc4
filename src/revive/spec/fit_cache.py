"""What a trial of settings found, in words and in the cache. No torch.

It is kept twice: by the model's fingerprint, which decides whether it is asked again, and by the
model's name, so that `revive check` can tell of it without loading anything.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from revive.io.atomic import write_text
from revive.io.json_text import read_json
from revive.spec.schema import EditorSpec, ModelSpec, RunSpec

ENOUGH = 0.9
"""Share of the trial's edits that must be reached, and must answer."""

LARGE = 0.5
"""Length of an update, relative to its weight, that is long for twelve edits."""


@dataclass(frozen=True, slots=True)
class SettingsTrial:
    """One try of the trial edits.

    Attributes:
        settings: Those of `fit` that it was made with.
        edits: How many were tried.
        reached: Share whose target was reached.
        answered: Share that the written model answers with the new target.
        paraphrase: Share of their paraphrases that prefer the new target to the true one.
        neighborhood: Share of their neighbours that prefer the true one.
        evaluations: Mean number of loss evaluations of a target.
        shift: Mean length of the shift, relative to the hidden state.
        update: Length of the longest update, relative to its weight (Frobenius).
    """

    settings: Mapping[str, Any]
    edits: int
    reached: float
    answered: float
    paraphrase: float
    neighborhood: float
    evaluations: float
    shift: float
    update: float

    @property
    def enough(self) -> bool:
        """Whether these settings serve."""
        return self.reached >= ENOUGH and self.answered >= ENOUGH

    @property
    def caution(self) -> str:
        """What a person should know of it; empty where all is well."""
        if not self.enough:
            reason = (
                "the targets are not reached" if self.reached < ENOUGH else "written edits fade"
            )
            return (
                f"That is too few ({reason}): expect edits that do not take. Other blocks may "
                "serve this model better: 'revive calibrate MODEL' tries some."
            )
        if self.update > LARGE:
            return "That is long: many edits will wear the model down. Check its general ability."
        return ""


@dataclass(frozen=True, slots=True)
class Fit:
    """What the trial found.

    Attributes:
        chosen: The attempt whose settings are taken.
        attempts: All of them, in order.
    """

    chosen: SettingsTrial
    attempts: tuple[SettingsTrial, ...]

    def told(self) -> str:
        """In a sentence or two."""
        one = self.chosen
        count = round(one.answered * one.edits)
        text = (
            f"settings by rule, tried on {one.edits} edits of the package: {count} of {one.edits} "
            f"answer with the new target; the longest update is {one.update:.0%} of its weight."
        )
        return f"{text} {one.caution}".rstrip()


def cached_fit(cache: Path, fingerprint: str, editor: EditorSpec) -> Fit | None:
    """What was found for a model and an editor's settings before."""
    return _read(_place(cache, fingerprint, editor))


def cached_fit_of(cache: Path, spec: RunSpec) -> Fit | None:
    """The same by the model's name, as a resolved spec has it."""
    return _read(_place(cache, _called(spec.model), spec.editor))


def keep_fit(cache: Path, fingerprint: str, spec: RunSpec, fit: Fit) -> None:
    """Keep it for both."""
    text = json.dumps(asdict(fit))
    for what in (fingerprint, _called(spec.model)):
        place = _place(cache, what, spec.editor)
        place.parent.mkdir(parents=True, exist_ok=True)
        write_text(place, text)


def _called(model: ModelSpec) -> str:
    return f"{model.name} {model.revision or ''} {model.quantize or ''}"


def _place(cache: Path, model: str, editor: EditorSpec) -> Path:
    """One file a model, editor and settings."""
    what = json.dumps([model, editor.model_dump()], sort_keys=True)
    return cache / "settings" / f"{hashlib.sha256(what.encode()).hexdigest()[:24]}.json"


def _read(place: Path) -> Fit | None:
    if not place.is_file():
        return None
    try:
        data = read_json(place.read_text(encoding="utf-8"))
        return Fit(
            SettingsTrial(**data["chosen"]), tuple(SettingsTrial(**a) for a in data["attempts"])
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None  # a cache that is damaged is no cache
