"""The presets that ship with the package, and which one a model gets."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, cast

import yaml

from revive.errors import SpecError
from revive.options.editors import EditorOptions, TargetOptions
from revive.presets.facts import ModelFacts
from revive.presets.rule import editors_by_rule, options_by_rule
from revive.registry import did_you_mean
from revive.sources.named import named

RULE = "rule"


@dataclass(frozen=True, slots=True)
class Preset:
    """Editor settings with their source.

    Attributes:
        name: Name of the preset, to be written as `editor.preset`.
        source: Where the numbers come from.
        options: `layers`, and settings of the editors that solve for targets.
        editors: What single editors have instead or besides, by editor.
        match: Model facts it is for.
        tuned: Further tuned values by name, such as the lambda that is best over a whole stream.
    """

    name: str
    source: str
    options: Mapping[str, object]
    editors: Mapping[str, Mapping[str, object]]
    match: Mapping[str, object]
    tuned: Mapping[str, float]

    def fits(self, facts: ModelFacts) -> bool:
        """Whether it is meant for a model."""
        return bool(self.match) and all(getattr(facts, k) == v for k, v in self.match.items())

    def settings_of(self, editor: str, options: EditorOptions) -> dict[str, object]:
        """What it says of one editor's settings.

        Args:
            editor: Its name.
            options: Its settings; only those that it has are taken.
        """
        fields = type(options).model_fields
        shared = fields if isinstance(options, TargetOptions) else ("layers",)
        found = {key: value for key, value in self.options.items() if key in shared}
        return {**found, **{k: v for k, v in self.editors.get(editor, {}).items() if k in fields}}


@cache
def presets() -> Mapping[str, Preset]:
    """Every preset by name."""
    found: dict[str, Preset] = {}
    for path in sorted(Path(__file__).resolve().parent.glob("*.yaml")):
        data = cast("dict[str, Any]", yaml.safe_load(path.read_text(encoding="utf-8")))
        found[path.stem] = Preset(
            path.stem,
            data["source"],
            data["options"],
            data.get("editors", {}),
            data.get("match", {}),
            data.get("tuned", {}),
        )
    return found


def choose(name: str | None, model: str, facts: ModelFacts) -> Preset:
    """The preset that was asked for, else the model's, else the rule.

    Args:
        name: As in the spec: a preset, `rule`, or None.
        model: Name of the model, as in the spec.
        facts: The model's sizes.

    Raises:
        SpecError: There is no preset of that name.
    """
    table = presets()
    known = (*table, RULE)
    if name is not None and name not in known:
        raise SpecError(
            f"editor.preset: unknown preset {name!r}.{did_you_mean(name, known)} "
            f"Known: {', '.join(known)}."
        )
    if name is None:
        fitting = [p.name for p in table.values() if p.fits(facts)]
        known = named(model)
        own = None if known is None else known.preset
        name = own or next(iter(fitting), RULE)
    if name == RULE:
        source = "by rule, see revive/presets/rule.py"
        return Preset(RULE, source, options_by_rule(facts), editors_by_rule(facts), {}, {})
    return table[name]
