"""Configs that describe a far larger model than there are weights for."""

from collections.abc import Mapping
from typing import Any

from revive.errors import SpecError
from revive.presets.facts import model_facts

_ROOM, _SMALL = 1.5, 10**8
"""Of what a config describes and what there is: times as much, and parameters that cost nothing."""


def refuse_hollow(name: str, config: Mapping[str, Any], stored: int) -> None:
    """Refuse a config that describes a far larger model than there are weights for.

    What is missing would be made up before it is told, and that may take all memory there is.

    Args:
        name: Of the model.
        config: Its `config.json`.
        stored: Numbers in its weight files.

    Raises:
        SpecError: It does.
    """
    said = model_facts(config).parameters
    if said > _ROOM * stored + _SMALL:
        raise SpecError(
            f"model: the config of {name} describes {said:,} parameters, and its files hold "
            f"{stored:,}: it is damaged, or they are not complete."
        )
