"""What an editor is: a generator of updates, with explicit state.

An editor never writes a weight. It yields one site's update and receives what was really applied,
because the next layer is computed on the model with this layer already edited.
"""

from abc import ABC, abstractmethod
from collections.abc import Generator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, Self, TypeVar

from torch import Tensor

from revive.data.edits import Edit
from revive.linalg.basis import SpectralBasis
from revive.linalg.blocks import Blocks
from revive.linalg.least_squares.output_metric import OutputMetric
from revive.linalg.lowrank import LowRank
from revive.linalg.moments import SecondMoment
from revive.models.forward.runner import BlockRunner
from revive.models.site import Site
from revive.options.editors import EditorOptions
from revive.renamed import renamed

OptionsT = TypeVar("OptionsT", bound=EditorOptions)

NOT_FINITE = "the target's loss is not finite"
"""Why an edit failed, where its numbers were at fault and not its text."""


@dataclass(frozen=True, slots=True)
class WeightUpdate:
    """One site's proposed update. A site may be proposed several times in a batch: they add up.

    Attributes:
        site: The site.
        factors: The update.
        owners: The edit, by its index into the batch, that each column of `factors.left` belongs
            to; None where an update is not a sum of one part per edit. An edit can be taken out
            of a batch later only where its columns are known.
    """

    site: Site
    factors: LowRank
    owners: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class WrittenUpdate:
    """What became of a proposed update.

    Attributes:
        site: The site.
        asked: Frobenius norm proposed by the editor.
        applied: Frobenius norm of the realised change of the parameter.
        removed: Share of the asked energy removed by the guard, by block.
        leak: Share of the realised change's energy inside the protected blocks.
        rank: Number of protected directions.
        factors: The guarded update as committed.
        owners: As proposed, where the guard kept the columns.
        columns: `[r]` squared Frobenius norm that each column asked for, where owners are known.
    """

    site: Site
    asked: float
    applied: float
    removed: Blocks
    leak: float
    rank: int
    factors: LowRank
    owners: tuple[int, ...] | None = None
    columns: Tensor | None = None


@dataclass(frozen=True)
class BatchOutcome:
    """How a batch went, apart from the weights.

    Attributes:
        increment: Tensors that advance the editor's state, stored with the batch's updates.
        failed: Reason by edit index, for edits that could not be made.
        notes: Numbers worth a line in the journal (mean target loss and the like).
        seconds: Time by phase.
        unsolved: Last loss by edit index, nats, of edits that were made although the model would
            not say their target even as the editor wants its states to be.
    """

    increment: Mapping[str, Tensor] = field(default_factory=dict[str, Tensor])
    failed: Mapping[int, str] = field(default_factory=dict[int, str])
    notes: Mapping[str, float] = field(default_factory=dict[str, float])
    seconds: Mapping[str, float] = field(default_factory=dict[str, float])
    unsolved: Mapping[int, float] = field(default_factory=dict[int, float])


class Weights(Protocol):
    """The edited weights, to be read; canonical `[d_out, d_in]`. The ledger is one."""

    def original(self, key: str) -> Tensor:
        """`W0`. Do not modify."""
        ...

    def delta(self, key: str) -> Tensor:
        """Sum of all updates. Do not modify."""
        ...

    def weight(self, key: str) -> Tensor:
        """`W0` + sum of updates, unrounded."""
        ...

    def pristine(self) -> AbstractContextManager[None]:
        """The model is the unedited one inside."""
        ...


@dataclass(frozen=True)
class EditContext:
    """Everything an editor may read.

    Attributes:
        runner: The model, through its block runner.
        tokenizer: Its tokenizer.
        sites: Edited sites, in order of depth.
        contexts: Texts that stand before prompts.
        moments: Key second moment by key of the site; empty for editors that need none.
        weights: The edited weights.
        bases: Protected directions by key, where the guard has editors solve under
            its constraint.
        metrics: The worth of output directions by key, where it weighs them.
        seed: Of whatever an editor draws.
    """

    runner: BlockRunner
    tokenizer: Any
    sites: tuple[Site, ...]
    contexts: tuple[str, ...]
    moments: Mapping[str, SecondMoment]
    weights: Weights
    bases: Mapping[str, SpectralBasis] = field(default_factory=dict[str, SpectralBasis])
    metrics: Mapping[str, OutputMetric] = field(default_factory=dict[str, OutputMetric])
    seed: int = 0


Updates = Generator[WeightUpdate, WrittenUpdate, BatchOutcome]


class EditMethod(ABC, Generic[OptionsT]):
    """A method that turns a batch of edits into weight updates."""

    name: ClassVar[str]
    paper: ClassVar[str]
    summary: ClassVar[str]
    options_model: ClassVar[type[EditorOptions]] = EditorOptions
    """Its settings in a spec; an editor with more of them names a subclass."""

    solves_under_guards: ClassVar[bool] = False
    """Whether its least squares heed the context's `bases` and `metrics`."""

    edits_experts: ClassVar[bool] = False
    """Whether it can write to the experts of a mixture, several sites to a layer."""

    def __init__(self, options: OptionsT) -> None:
        """Take the settings, an instance of `options_model`."""
        self.options = options

    def with_options(self, options: OptionsT) -> Self:
        """A fresh editor with other settings, for the same context; to be prepared.

        It may share what is costly and the same under them.
        """
        return type(self)(options)

    @abstractmethod
    def prepare(self, context: EditContext) -> None:
        """Compute what is constant over the run. Called once, on the unedited model."""

    @abstractmethod
    def edit(self, batch: Sequence[Edit], context: EditContext) -> Updates:
        """Propose updates for one batch, site by site; return the outcome."""

    def advance(self, increment: Mapping[str, Tensor]) -> None:
        """Move the state past a committed batch. Replaying all increments restores the state.

        An editor without state has nothing to do.
        """


if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        """Names of earlier versions."""
        return renamed(__name__, name)
