"""REVIVE: edit facts in language models, thousands of times, without wrecking them.

Names are imported when they are first used, so that `import revive` stays light.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from revive import renamed as _renamed
from revive.data.edits import Edit, Neighbor
from revive.errors import NumericalError, PrerequisiteError, ReviveError, SpecError

if TYPE_CHECKING:
    from revive.api import Editor
    from revive.data.readers import load_edits
    from revive.export.delta import Delta
    from revive.guards.controls import (
        BottomSubspace,
        LeftOnly,
        NoGuard,
        NormMatched,
        RandomSubspace,
        RightOnly,
    )
    from revive.guards.revive import Revive
    from revive.linalg.basis import SpectralBasis
    from revive.linalg.lowrank import LowRank
    from revive.models.loading import load_model

__version__ = "0.1.0"

_renamed.install()

_LAZY = {
    "Editor": "revive.api",
    "load_edits": "revive.data.readers",
    "load_model": "revive.models.loading",
    "Revive": "revive.guards.revive",
    "NoGuard": "revive.guards.controls",
    "RandomSubspace": "revive.guards.controls",
    "BottomSubspace": "revive.guards.controls",
    "NormMatched": "revive.guards.controls",
    "LeftOnly": "revive.guards.controls",
    "RightOnly": "revive.guards.controls",
    "SpectralBasis": "revive.linalg.basis",
    "LowRank": "revive.linalg.lowrank",
    "Delta": "revive.export.delta",
}

__all__ = [
    "BottomSubspace",
    "Delta",
    "Edit",
    "Editor",
    "LeftOnly",
    "LowRank",
    "Neighbor",
    "NoGuard",
    "NormMatched",
    "NumericalError",
    "PrerequisiteError",
    "RandomSubspace",
    "Revive",
    "ReviveError",
    "RightOnly",
    "SpecError",
    "SpectralBasis",
    "__version__",
    "load_edits",
    "load_model",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in _LAZY:
        raise AttributeError(f"module 'revive' has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)
