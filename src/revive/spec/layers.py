"""Which blocks a command works on, where no spec says."""

from collections.abc import Sequence
from typing import Any

from revive.errors import SpecError
from revive.presets.facts import model_facts
from revive.spec.overrides import apply_overrides
from revive.spec.parsing import editor_options, parse_spec, read_model_config, resolve
from revive.spec.schema import RunSpec


def blocks_of(named: str | None, model: dict[str, Any]) -> list[int]:
    """The blocks that a user names.

    Args:
        named: A list like `4,5,6`; `all`; None for those that MEMIT would edit.
        model: As in a spec.

    Raises:
        SpecError: Neither.
    """
    if named is None:
        return edited_layers(model)
    if named == "all":
        config = read_model_config(model["name"], model.get("revision"))
        return list(range(model_facts(config).blocks))
    try:
        return [int(part) for part in named.split(",")]
    except ValueError:
        raise SpecError(f"--layers: {named!r} is neither 'all' nor a list like 4,5,6.") from None


def edited_layers(model: dict[str, Any]) -> list[int]:
    """The blocks that MEMIT would edit: the preset's, those chosen for the model, or by rule."""
    return list(editor_options(bare_spec(model).editor).layers or ())


def bare_spec(model: dict[str, Any], overrides: Sequence[str] = ()) -> RunSpec:
    """The resolved spec of a model alone, with every default of an everyday edit.

    Its edits are no one's: whoever needs some takes the package's.

    Args:
        model: As in a spec.
        overrides: `key.key=value`.
    """
    data = apply_overrides({"model": model, "edits": "lab"}, overrides)
    spec = parse_spec(data, "--set" if overrides else "options")
    return resolve(spec, read_model_config(spec.model.name, spec.model.revision))
