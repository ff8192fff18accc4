"""MQuAKE (arXiv:2305.14795): edits with multi-hop questions whose answers change with them."""

from collections.abc import Sequence
from typing import ClassVar, cast, final

from revive.data.edits import Edit, MultiHop
from revive.data.formats.dataset import Dataset
from revive.data.formats.fields import child, identifier, label, nested, optional_text, text, texts
from revive.data.formats.questions import distinct
from revive.data.formats.records import Record, kind
from revive.errors import SpecError

_REWRITES = "requested_rewrite"
_ONE = "rewrite"


@final
class MQuAKE(Dataset):
    """`MQuAKE-*.json`: every rewrite of a case is an edit, the last one carries its questions.

    A case is answered if one of its wordings is answered with `new_answer` or an alias. The
    question about the edited fact itself is a paraphrase. Cases that contradict each other, which
    the file has many of, need `on_conflict: last`; a case of which an edit was replaced is not
    measured.
    """

    name: ClassVar[str] = "mquake"

    def matches(self, record: Record) -> bool:
        """Records with a list of rewrites."""
        return isinstance(record.fields.get(_REWRITES), list)

    def parts(self, record: Record) -> Sequence[Record]:
        """One record a rewrite: the case's fields, and which of the rewrites is meant."""
        rewrites = record.fields.get(_REWRITES)
        if not isinstance(rewrites, list):
            raise SpecError(f"{record.where}: {_REWRITES} must be a list, got {kind(rewrites)}.")
        return [
            Record(
                f"{record.where}, {_REWRITES} {n + 1}", record.number, {**record.fields, _ONE: n}
            )
            for n in range(len(cast("list[object]", rewrites)))
        ]

    def convert(self, record: Record) -> Edit | None:
        """One rewrite of a case as an edit."""
        rewrites = [
            nested(record, r, _REWRITES) for r in cast("list[object]", record.fields[_REWRITES])
        ]
        number = cast("int", record.fields[_ONE])
        rewrite, case = rewrites[number], identifier(record, "case_id") or f"edit-{record.number}"
        target = _target(rewrite)
        if not target:
            return None
        return Edit(
            prompt=text(rewrite, "prompt"),
            subject=text(rewrite, "subject"),
            target_new=target,
            target_true=optional_text(child(rewrite, "target_true"), "str"),
            id=f"{case}-{number + 1}",
            paraphrases=texts(rewrite, "question"),
            relation=label(rewrite, "relation_id"),
            multi_hop=_chain(record, rewrites) if number == len(rewrites) - 1 else (),
        )


def _chain(record: Record, rewrites: Sequence[Record]) -> tuple[MultiHop, ...]:
    asked = texts(record, "questions")
    accepted = distinct([*texts(record, "new_answer"), *texts(record, "new_answer_alias")])
    needs = tuple((_filled(r), _target(r)) for r in rewrites)
    return (MultiHop(asked, accepted, needs),) if asked and accepted else ()


def _filled(rewrite: Record) -> str:
    return text(rewrite, "prompt").replace("{}", text(rewrite, "subject").strip())


def _target(rewrite: Record) -> str:
    return text(child(rewrite, "target_new", required=True), "str")
