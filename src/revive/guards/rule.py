"""What a guard does to one weight: it turns a proposed update into one that may be written."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from revive.errors import SpecError
from revive.linalg.basis import SpectralBasis
from revive.linalg.blocks import Blocks
from revive.linalg.cache import BasisCache
from revive.linalg.fingerprint import fingerprint
from revive.linalg.least_squares.output_metric import OutputMetric
from revive.linalg.lowrank import LowRank

Mode = Literal["posthoc", "constrained", "weighted"]
BasisChoice = Literal["original", "current"]
When = Literal["layer", "batch"]


@dataclass(frozen=True, slots=True)
class GuardResult:
    """What came out of a guard.

    Attributes:
        update: The update that may be written.
        removed: Share of the asked energy that was removed, by block.
        rank: Number of protected directions k.
        columns: Whether column j of `update` is what became of column j of the update asked for.
    """

    update: LowRank
    removed: Blocks
    rank: int
    columns: bool = True


@dataclass(frozen=True)
class SiteStatistics:
    """What ordinary text says of one site, for guards that weigh output directions by it.

    Attributes:
        inputs: C = E[k k^T], `[d_in, d_in]`.
        gradients: E[g g^T], g the loss's gradient at the output, `[d_out, d_out]`.
    """

    inputs: Tensor | None = None
    gradients: Tensor | None = None


class Protector(ABC):
    """A guard fitted to one weight."""

    @property
    @abstractmethod
    def basis(self) -> SpectralBasis | None:
        """The directions it protects or is measured against; None where there are none."""

    @abstractmethod
    def filter(self, update: LowRank) -> GuardResult:
        """Return the part of `update` that may be written."""

    @abstractmethod
    def filter_dense(self, update: Tensor) -> Tensor:
        """The same for a dense update `[d_out, d_in]`, without the account."""


@dataclass(frozen=True, kw_only=True)
class GuardRule(ABC):
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

    basis: BasisChoice = "original"
    when: When = "layer"

    def __post_init__(self) -> None:
        """Refuse settings that mean nothing."""
        check_choice("basis", self.basis, ("original", "current"))
        check_choice("when", self.when, ("layer", "batch"))

    @property
    def mode(self) -> Mode:
        """How editors solve: as ever, and are cut; under the constraint; or with its weights."""
        return "posthoc"

    @property
    def follows(self) -> bool:
        """Whether it is fitted anew to the weight as it stands before every update."""
        return self.basis == "current"

    @property
    def needs_gradients(self) -> bool:
        """Whether `metric` reads gradients."""
        return False

    @abstractmethod
    def protector(self, weight: Tensor, key: str, *, cache: BasisCache | None = None) -> Protector:
        """Fit to one weight.

        Args:
            weight: `[d_out, d_in]`, canonical orientation, fp32 or fp64.
            key: The site's key; seeds whatever is random, so that it is the same in
                every process.
            cache: Where singular vectors are kept between processes.
        """

    def refitted(self, protector: Protector, weight: Tensor, key: str) -> Protector:
        """A protector fitted to the weight as it stands; `protector` is the one before.

        A weight that is byte for byte the one last fitted is not decomposed again.
        """
        basis = protector.basis
        if basis is not None and basis.fingerprint == fingerprint(weight):
            return protector
        # The cache is for originals: a current weight is never seen twice.
        return self.protector(weight, key)

    def metric(self, weight: Tensor, key: str, statistics: SiteStatistics) -> OutputMetric | None:
        """The worth of a weight's output directions, where the guard weighs them."""
        del weight, key, statistics
        return None


def check_choice(name: str, value: str, allowed: tuple[str, ...]) -> None:
    """Refuse a value outside `allowed`.

    Raises:
        SpecError: It is.
    """
    if value not in allowed:
        raise SpecError(f"guard.{name}: {value!r} is unknown; choose {' or '.join(allowed)}.")
