"""What became of every single edit, in words and numbers: one row an edit. No torch."""

import csv
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, cast

from revive.wording import cell, counted

if TYPE_CHECKING:
    from revive.metrics.outcomes import Outcomes

Cause = Literal[
    "", "removed", "failed", "unsolved", "withheld", "shared", "subject", "lost", "weak"
]
"""Why an edit did not take, in short; empty where it took, was not asked, or nothing is known."""


@dataclass(frozen=True, slots=True)
class EditRow:
    """One edit.

    Attributes:
        id: Its id.
        prompt: Its prompt, subject filled in; empty where only measurements were kept.
        target_new: What it shall say.
        target_true: What it said, by the edit file; None where the file does not tell.
        chat: Whether it is asked for in the model's chat template.
        before: Greedy continuation of the prompt by the unedited model; None where not asked.
        now: The same with the edits in the model.
        reached: Whether greedy generation begins with the new target; None where not measured.
        preferred: Whether the new target is likelier than the true one; None where not known.
        paraphrases: How many paraphrases were asked; None where not known.
        paraphrases_reached: Of those, how many the new target answers.
        cause: Why it did not take, in short.
        reason: And in words.
    """

    id: str
    prompt: str = ""
    target_new: str = ""
    target_true: str | None = None
    chat: bool = False
    before: str | None = None
    now: str | None = None
    reached: bool | None = None
    preferred: bool | None = None
    paraphrases: int | None = None
    paraphrases_reached: int | None = None
    cause: Cause = ""
    reason: str = ""

    @property
    def asked(self) -> str:
        """What to show as its prompt: the id where that is all that was kept."""
        return f"{self.prompt or self.id}{' (in a chat)' if self.chat else ''}"


COLUMNS = tuple(field.name for field in fields(EditRow))


@dataclass(frozen=True, slots=True)
class EditTable:
    """The edits of a run, or those a model was asked for.

    Attributes:
        rows: One an edit, in the order in which they were made.
        edits: How many stand; more than rows where a sample was measured.
        note: What a reader should know of the whole table.
    """

    rows: tuple[EditRow, ...] = ()
    edits: int = 0
    note: str = ""

    @property
    def asked(self) -> int:
        """Edits whose answer was measured."""
        return sum(row.reached is not None for row in self.rows)

    @property
    def reached(self) -> int:
        """Edits that answer with the new target."""
        return sum(row.reached is True for row in self.rows)

    @property
    def failed(self) -> int:
        """Edits that could not be made."""
        return sum(row.cause == "failed" for row in self.rows)

    def headline(self) -> str:
        """How many edits took, as a sentence without its stop."""
        told = took(**self.counts())
        return f"{told}; {self.failed:,} could not be made" if self.failed else told

    def worst_first(self) -> list[EditRow]:
        """All rows: those that did not take, those that did, those that were not asked."""
        rank = {False: 0, True: 1, None: 2}
        return sorted(self.rows, key=lambda row: (rank[row.reached], not row.reason))

    def causes(self) -> "Counter[Cause]":
        """How many edits did not take, by cause."""
        return Counter(row.cause for row in self.rows if row.reached is False)

    def counts(self) -> dict[str, int]:
        """How many edits stand, were asked, and took."""
        return {"edits": self.edits, "asked": self.asked, "reached": self.reached}

    def plain(self) -> dict[str, Any]:
        """Plain data."""
        return {
            **self.counts(),
            "note": self.note,
            "rows": [asdict(row) for row in self.rows],
        }


def took(edits: int, asked: int, reached: int) -> str:
    """How many edits took, as a sentence without its stop.

    Args:
        edits: Those that stand.
        asked: Those whose answer was measured.
        reached: Those that answer with the new target.
    """
    if not asked:
        return "no edit's answer was measured"
    verb = "answers" if asked == 1 else "answer"
    if asked >= edits:
        return f"{reached:,} of {counted(asked, 'edit')} {verb} with the new target"
    return (
        f"{reached:,} of {counted(asked, 'edit')} that {'was' if asked == 1 else 'were'} measured "
        f"{verb} with the new target ({edits:,} stand)"
    )


def scored_row(row: EditRow, outcomes: "Outcomes", place: int) -> EditRow:
    """The row with what was measured of its edit.

    Args:
        row: The edit.
        outcomes: By metric, one value an edit.
        place: The edit's, in them.
    """

    def value(name: str) -> float | None:
        column = outcomes.columns.get(name)
        found = None if column is None else float(column[place])
        return None if found is None or found != found else found

    exact, wins, share = (value(n) for n in ("efficacy_exact", "efficacy", "paraphrase_exact"))
    right = None
    if share is not None and row.paraphrases is not None:
        right = round(share * row.paraphrases)
    changed: dict[str, Any] = {
        "reached": None if exact is None else exact > 0,
        "preferred": None if wins is None else wins > 0,
        "paraphrases_reached": right,
    }
    return EditRow(**{**asdict(row), **changed})


def rows_of(value: object) -> tuple[EditRow, ...]:
    """Rows from what `EditTable.plain` made of them; fields of a newer version are left out.

    Raises:
        TypeError: It is something else.
    """
    if not isinstance(value, list):
        raise TypeError("rows is no list")
    rows = [cast("dict[str, Any]", row) for row in cast("list[object]", value)]
    return tuple(EditRow(**{k: v for k, v in row.items() if k in COLUMNS}) for row in rows)


def to_csv(rows: Sequence[tuple[str, EditRow]], first: str = "") -> str:
    """Rows as comma-separated values, with what each belongs to in a first column if it has a name.

    Args:
        rows: What each belongs to, and the row.
        first: Head of that column; without one it is left out.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([*([first] if first else []), *COLUMNS])
    for owner, row in rows:
        values = (getattr(row, name) for name in COLUMNS)
        cells = [*([owner] if first else []), *("" if v is None else v for v in values)]
        writer.writerow(map(cell, cells))
    return buffer.getvalue()
