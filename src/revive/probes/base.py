"""What a probe is: something that measures the model as it stands."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from revive.data.edits import Edit
from revive.metrics.outcomes import Outcomes
from revive.models.ledger import Ledger


@dataclass(frozen=True)
class ProbeContext:
    """What a probe may read.

    Attributes:
        model: The causal language model.
        tokenizer: Its tokenizer.
        ledger: fp32 truth of the edited weights.
        edits: The edits that stand, in order: all so far, of each fact the latest, without those
            that were taken out; those that failed are included.
        seed: Seed of samples.
    """

    model: Any
    tokenizer: Any
    ledger: Ledger
    edits: Sequence[Edit]
    seed: int = 0


@dataclass(frozen=True)
class Measurement:
    """What a probe found.

    Attributes:
        metrics: By name.
        sample: Number of edits they were taken over, where that is a sample.
        retention: Success by age of the edits.
        sites: Plain data by parameter name, for whoever reads the journal.
        intervals: 95 % interval of a metric, where one was computed.
        outcomes: What the metrics are means of, edit by edit, where that was kept.
    """

    metrics: Mapping[str, float]
    sample: int | None = None
    retention: Sequence[Mapping[str, float]] = field(default_factory=tuple)
    sites: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])
    intervals: Mapping[str, tuple[float, float]] = field(
        default_factory=dict[str, tuple[float, float]]
    )
    outcomes: Outcomes | None = None


class Probe(ABC):
    """Measures one aspect of a model."""

    name: ClassVar[str]
    summary: ClassVar[str]

    @abstractmethod
    def measure(self, context: ProbeContext) -> Measurement:
        """Measure. Must not change the model, nor any global random state."""

    def depends_on(self, context: ProbeContext) -> Mapping[str, Any] | None:
        """What a measurement depends on besides the model and its tokenizer, as plain data.

        A model that is measured again under the same conditions need not be: what the unedited
        model measured is kept between runs. None, the default: it is always measured.
        """
        del context
        return None


def edits_digest(edits: Sequence[Edit]) -> str:
    """SHA-256 of everything that edits hold, in their order."""
    digest = hashlib.sha256()
    for edit in edits:
        digest.update(repr(edit).encode("utf-8", "surrogatepass") + b"\n")
    return digest.hexdigest()
