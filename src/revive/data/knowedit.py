"""KnowEdit (arXiv:2401.01286): wiki_counterfact, wiki_recent, WikiBio and its zsRE."""

from typing import ClassVar, final

from revive.data.dataset import Dataset
from revive.data.edits import Edit, Neighbor
from revive.data.fields import child, identifier, items, nested, optional_text, text, texts
from revive.data.records import Record


@final
class KnowEdit(Dataset):
    """Prompts with dictionaries of `portability` and `locality` questions.

    Every locality question becomes a neighbour with its first accepted answer. The aliased
    subjects of `portability` become paraphrases where the new target is an accepted answer; its
    reasoning questions have other answers and are left out. WikiBio names its fields `text`,
    `concept` and `labels`.
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
        aliases = child(record, "portability").fields.get("Subject_Aliasing")
        aliased = [q for q, answers in _questions(record, aliases) if target in answers]
        truth = texts(record, "ground_truth")
        return Edit(
            prompt=text(record, "text" if biography else "prompt"),
            subject=text(record, "concept" if biography else "subject"),
            target_new=target,
            target_true=truth[0] if truth else None,
            id=identifier(record, "case_id"),
            paraphrases=(*texts(record, "rephrase"), *texts(record, "rephrase_prompt"), *aliased),
            neighborhood=_neighborhood(record),
            relation=optional_text(record, "relation"),
        )


def _neighborhood(record: Record) -> tuple[Neighbor, ...]:
    locality = child(record, "locality")
    return tuple(
        Neighbor(prompt, answers[0])
        for questions in locality.fields.values()
        for prompt, answers in _questions(locality, questions)
    )


def _questions(record: Record, value: object) -> list[tuple[str, list[str]]]:
    """Prompts with their accepted answers; those without any are left out."""
    rows = [nested(record, row, "question") for row in items(value)]
    found = [(text, _answers(row)) for row in rows for text in texts(row, "prompt")[:1]]
    return [(prompt, answers) for prompt, answers in found if answers]


def _answers(row: Record) -> list[str]:
    """`ground_truth` is a text, a list of texts, or a list of lists of aliases."""
    flat = [alias for entry in items(row.fields.get("ground_truth")) for alias in items(entry)]
    return [alias.strip() for alias in flat if isinstance(alias, str) and alias.strip()]
