"""Guards: what stands between an editor's proposal and the weights."""

from revive.guards.base import Blocks, Guard, GuardResult, Protector
from revive.guards.controls import (
    BottomSubspace,
    LeftOnly,
    NoGuard,
    NormMatched,
    RandomSubspace,
    RightOnly,
)
from revive.guards.fitted import FittedGuard
from revive.guards.protect import Attachment, ModelGuard
from revive.guards.revive import Revive

__all__ = [
    "Attachment",
    "Blocks",
    "BottomSubspace",
    "FittedGuard",
    "Guard",
    "GuardResult",
    "LeftOnly",
    "ModelGuard",
    "NoGuard",
    "NormMatched",
    "Protector",
    "RandomSubspace",
    "Revive",
    "RightOnly",
]
