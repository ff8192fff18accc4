"""KnowEdit (arXiv:2401.01286): wiki_counterfact, wiki_recent, WikiBio and its zsRE."""

from typing import ClassVar, final

from revive.data.edits import Edit, Neighbor
from revive.data.formats.dataset import Dataset
from revive.data.formats.fields import child, identifier, label, text, texts
from revive.data.formats.questions import portability, questions
from revive.data.formats.records import Record


@final
class KnowEdit(Dataset):
    """Prompts with dictionaries of `portability` and `locality` questions.

    Every locality question becomes a neighbour with its first accepted answer. The aliased
    subjects of `portability` become paraphrases too where the new target is an accepted answer.
    WikiBio names its fields `text`, `concept` and `labels`.
    """

    name: ClassVar[str] = "knowedit"

    def matches(self, record: Record) -> bool:
        """Records with a dictionary of locality or portability questions, or WikiBio's fields."""
        questions = (record.fields.get("locality"), record.fields.get("portability"))
        return any(isinstance(q, dict) for q in questions) or {"concept", "labels"} <= set(
            record.fields
        )

    def convert(self, record: Record) -> Edit | None:
        """One record as an edit."""
        biography = "concept" in record.fields
        target = text(record, "labels" if biography else "target_new")
        if not target:
            return None
        aliases = questions(record, child(record, "portability").fields.get("Subject_Aliasing"))
        aliased = [q.prompt for q in aliases if target.strip() in {a.strip() for a in q.answers}]
        truth = texts(record, "ground_truth")
        return Edit(
            prompt=text(record, "text" if biography else "prompt"),
            subject=text(record, "concept" if biography else "subject"),
            target_new=target,
            target_true=truth[0] if truth else None,
            id=identifier(record, "case_id"),
            paraphrases=(*texts(record, "rephrase"), *texts(record, "rephrase_prompt"), *aliased),
            neighborhood=_neighborhood(record),
            relation=label(record, "relation"),
            portability=portability(record),
        )


def _neighborhood(record: Record) -> tuple[Neighbor, ...]:
    locality = child(record, "locality")
    return tuple(
        Neighbor(question.prompt, question.answers[0])
        for group in locality.fields.values()
        for question in questions(locality, group)
    )
