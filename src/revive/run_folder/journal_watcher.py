"""What is known of a run that another process makes: its journal, read once. No torch."""

from collections.abc import Callable
from pathlib import Path

from revive.run_folder.journal import JournalReader

Report = Callable[[str, int, dict[str, float], str], None]
"""Called with an arm's label, edits done, its latest metrics, and what it is doing."""


class Lead:
    """The arm that goes ahead until it has measured the unedited model."""

    def __init__(self, name: str, out: Path) -> None:
        self.name = name
        self._journal = JournalReader(out / name / "journal.jsonl")

    def done(self) -> bool:
        """Whether it has measured, told by what is new in its journal."""
        return any(event["event"] == "measure" for event in self._journal.new())


class JournalWatcher:
    """What is known of an arm; its journal is read once, however often one looks."""

    def __init__(self, label: str, name: str, out: Path) -> None:
        self._label = label
        self._journal = JournalReader(out / name / "journal.jsonl")
        self._edits: dict[int, int] = {}
        self._metrics: dict[str, float] = {}
        self._begun = False

    def tell(self, report: Report, phase: str | None = None) -> None:
        """Report what is new, and what is known.

        Args:
            report: Who is told.
            phase: What the arm is doing; default what its journal says.
        """
        for event in self._journal.new():
            self._begun = True
            if event["event"] == "batch":
                self._edits[event["step"]] = len(event["edits"])
            elif event["event"] == "measure" and event["edits"]:
                self._metrics.update(event["metrics"])
            elif event["event"] == "rollback":
                # Of batches that were undone before this process looked.
                kept = {k: n for k, n in self._edits.items() if k <= event["step"]}
                self._edits = kept
        edits = sum(self._edits.values())
        told = ("editing" if edits else "preparing") if self._begun else "loading"
        report(self._label, edits, dict(self._metrics), phase or told)
