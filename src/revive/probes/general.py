"""General ability on the lab battery: nothing in it is about edited facts."""

from collections.abc import Mapping
from typing import Any, ClassVar, final

from revive.probes import lab_battery
from revive.probes.base import Measurement, Probe, ProbeContext


@final
class GeneralProbe(Probe):
    """Minimal pairs, recall of facts never edited, copying in context, held-out perplexity."""

    name: ClassVar[str] = "general"
    summary: ClassVar[str] = "lab battery: grammar, un-edited facts, copying, perplexity"

    def __init__(
        self, facts: int = 300, pairs: int = 300, copies: int = 100, words: int | None = None
    ) -> None:
        """Set the number of items of each part, and of words of prose (None: all)."""
        self.facts = facts
        self.pairs = pairs
        self.copies = copies
        self.words = words

    def measure(self, context: ProbeContext) -> Measurement:
        """Measure the battery; the items depend on its own seed only, so runs are comparable."""
        return Measurement(
            lab_battery.measure(
                context.model,
                context.tokenizer,
                facts=self.facts,
                pairs=self.pairs,
                copies=self.copies,
                words=self.words,
            )
        )

    def depends_on(self, context: ProbeContext) -> Mapping[str, Any]:
        """The numbers of items."""
        del context
        return {
            "facts": self.facts,
            "pairs": self.pairs,
            "copies": self.copies,
            "words": self.words,
        }
