"""Perplexity on a text file."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, final

from revive.paths import read_text
from revive.probes.base import Measurement, Probe, ProbeContext
from revive.scoring.score import perplexity


@final
class PerplexityProbe(Probe):
    """exp of the mean token NLL of a text, reported as `perplexity_<file name>`."""

    name: ClassVar[str] = "perplexity"
    summary: ClassVar[str] = "perplexity on a text file"

    def __init__(self, text: str, characters: int = 200_000) -> None:
        """Read the text.

        Args:
            text: Path of a UTF-8 text file.
            characters: Use at most this many characters from its start.

        Raises:
            SpecError: The file cannot be read.
        """
        self._text = read_text(text, "probes.perplexity.text")[:characters]
        self._metric = f"perplexity_{Path(text).stem}"

    def measure(self, context: ProbeContext) -> Measurement:
        """Measure with the current model."""
        return Measurement({self._metric: perplexity(context.model, context.tokenizer, self._text)})

    def depends_on(self, context: ProbeContext) -> Mapping[str, Any]:
        """The text."""
        del context
        return {"metric": self._metric, "text": hashlib.sha256(self._text.encode()).hexdigest()}
