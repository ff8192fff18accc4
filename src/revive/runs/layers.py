"""Which blocks a command works on, where no spec says."""

from typing import Any

from revive.errors import SpecError
from revive.presets.facts import model_facts
from revive.runs.schema import RunSpec
from revive.runs.spec import editor_options, read_model_config, resolve


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
    """The blocks that MEMIT would edit in a model: its preset's, or by rule."""
    bare = RunSpec.model_validate(
        {"model": model, "edits": "lab", "editor": "memit", "moments": {"text": "lab"}}
    )
    spec = resolve(bare, read_model_config(bare.model.name, bare.model.revision))
    return list(editor_options(spec.editor).layers or ())
