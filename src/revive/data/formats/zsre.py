"""zsRE in the form of MEND (arXiv:2110.11309): questions with an alternative answer."""

from typing import ClassVar, final

from revive.data.edits import Edit, Neighbor
from revive.data.formats.dataset import Dataset
from revive.data.formats.fields import optional_text, text, texts
from revive.data.formats.questions import portability
from revive.data.formats.records import Record
from revive.data.joining import PUBLISHED

_PREFIX = "nq question: "


@final
class ZsRE(Dataset):
    """`src` is edited to answer `alt`; `answers` hold the truth; `loc` is an unrelated question.

    The mark `nq question: ` is dropped from `loc` and a question mark added, so that the prompt
    looks like the edited ones. Texts are trimmed and joined by a space, as the authors' evaluation
    does it.
    """

    name: ClassVar[str] = "zsre"

    def matches(self, record: Record) -> bool:
        """Records with a source question and an alternative answer."""
        return {"src", "alt"} <= set(record.fields)

    def convert(self, record: Record) -> Edit | None:
        """One question as an edit; None where the file holds no alternative answer."""
        target = text(record, "alt")
        if not target:
            return None
        answers = texts(record, "answers")
        loc, loc_answer = optional_text(record, "loc"), optional_text(record, "loc_ans")
        return Edit(
            prompt=text(record, "src"),
            subject=text(record, "subject"),
            target_new=target,
            target_true=answers[0] if answers else None,
            paraphrases=texts(record, "rephrase"),
            neighborhood=(Neighbor(_question(loc), loc_answer),) if loc and loc_answer else (),
            portability=portability(record),
            joiner=PUBLISHED,
        )


def _question(loc: str) -> str:
    question = loc.removeprefix(_PREFIX).strip()
    return question if question.endswith("?") else f"{question}?"
