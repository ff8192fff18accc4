"""What became of the edits in a written file, by llama.cpp's own answers."""

from dataclasses import dataclass
from pathlib import Path

from revive.export.llama_cpp import answers
from revive.export.questions import Questions
from revive.progress import Told


@dataclass(frozen=True, slots=True)
class EngineCheck:
    """Edits and other text asked of two files.

    Attributes:
        stand: Edits in the model.
        asked: Those that were asked.
        unedited: Of them, how many the original file answers with the new target.
        before: How many the model answered before it was written.
        reached: How many the written file answers.
        openings: Beginnings of ordinary text that were continued.
        kept: Of them, how many the written file continues with the original's token.
    """

    stand: int
    asked: int
    unedited: int
    before: int
    reached: int
    openings: int
    kept: int

    def told(self) -> str:
        """As sentences."""
        of = (
            f"{self.asked:,} edits"
            if self.asked == self.stand
            else (f"{self.asked:,} edits, drawn from {self.stand:,},")
        )
        return (
            f"In llama.cpp {self.reached:,} of {of} answer with the new target, {self.before:,} "
            f"before writing, {self.unedited:,} in the original file. {self.kept:,} of "
            f"{self.openings:,} openings of ordinary text go on with the same token as there."
        )


def check(
    original: Path, asked: Questions, before: int, told: Told, *, written: Path, adapter: bool
) -> EngineCheck:
    """Ask a file, and the one it was made from.

    Args:
        original: The unedited file.
        asked: What is asked.
        before: How many edits answered before writing.
        told: Called with prompts answered.
        written: A file to be asked by itself, or an adapter for the original.
        adapter: Whether it is one.

    Raises:
        PrerequisiteError: llama.cpp cannot run one of them.
    """
    prompts = (*asked.prompts, *asked.openings)
    old = answers(original, prompts, told)
    new = (
        answers(original, prompts, told, adapter=written)
        if adapter
        else answers(written, prompts, told)
    )
    edits = len(asked.edits)
    return EngineCheck(
        stand=asked.stand,
        asked=edits,
        unedited=asked.reached(old[:edits]),
        before=before,
        reached=asked.reached(new[:edits]),
        openings=len(asked.openings),
        kept=sum(a == b for a, b in zip(old[edits:], new[edits:], strict=True)),
    )
