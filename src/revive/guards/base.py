"""What a guard is: something that turns a proposed update into one that may be written."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from torch import Tensor

from revive.linalg.basis import SpectralBasis
from revive.linalg.lowrank import LowRank


@dataclass(frozen=True, slots=True)
class Blocks:
    """Shares of an update's energy (squared Frobenius norm) in the four blocks of U^T dW V.

    The blocks are cut by the protected directions U_k (outputs) and V_k (inputs) of the site.
    """

    uk_vk: float
    uk_rest: float
    rest_vk: float
    rest_rest: float


@dataclass(frozen=True, slots=True)
class GuardResult:
    """What came out of a guard.

    Attributes:
        update: The update that may be written.
        removed: Share of the asked energy that was removed, by block.
        rank: Number of protected directions k.
    """

    update: LowRank
    removed: Blocks
    rank: int


class Protector(ABC):
    """A guard fitted to one weight."""

    basis: SpectralBasis | None

    @abstractmethod
    def filter(self, update: LowRank) -> GuardResult:
        """Return the part of `update` that may be written."""


@dataclass(frozen=True, kw_only=True)
class Guard(ABC):
    """Settings of a guard; `protector` fits it to one weight.

    Attributes:
        basis: `original` protects the directions of the pretrained weight for ever; `current`
            takes them anew from the weight as it stands at every batch.
        when: `layer` filters inside the layer loop, so that later layers see and compensate what
            was removed; `batch` filters the whole batch's difference at its end.
    """

    name: ClassVar[str]
    paper: ClassVar[str]
    summary: ClassVar[str]

    basis: Literal["original", "current"] = field(default="original")
    when: Literal["layer", "batch"] = field(default="layer")

    @abstractmethod
    def protector(self, weight: Tensor, key: str) -> Protector:
        """Fit to one weight.

        Args:
            weight: `[d_out, d_in]`, canonical orientation, fp32 or fp64.
            key: The site's parameter name; seeds whatever is random, so that it is the same in
                every process.
        """
