"""CounterFact (arXiv:2202.05262), in the authors' form and in EasyEdit's flat form."""

from typing import ClassVar, final

from revive.data.edits import Edit, Neighbor
from revive.data.formats.dataset import Dataset
from revive.data.formats.fields import child, identifier, label, optional_text, text, texts
from revive.data.formats.questions import portability
from revive.data.formats.records import Record
from revive.data.joining import PUBLISHED


@final
class CounterFact(Dataset):
    """`multi_counterfact.json`. Neighbourhood prompts have the true answer as their target.

    Texts are trimmed and joined by a space, as the authors' evaluation does it.
    """

    name: ClassVar[str] = "counterfact"

    def matches(self, record: Record) -> bool:
        """Records with one `requested_rewrite`; MQuAKE has a list of them."""
        return isinstance(record.fields.get("requested_rewrite"), dict)

    def convert(self, record: Record) -> Edit | None:
        """One case as an edit."""
        rewrite = child(record, "requested_rewrite", required=True)
        target = text(child(rewrite, "target_new", required=True), "str")
        if not target:
            return None
        true = optional_text(child(rewrite, "target_true"), "str")
        prompts = texts(record, "neighborhood_prompts") if true is not None else ()
        return Edit(
            prompt=text(rewrite, "prompt"),
            subject=text(rewrite, "subject"),
            target_new=target,
            target_true=true,
            id=identifier(record, "case_id"),
            paraphrases=texts(record, "paraphrase_prompts"),
            neighborhood=tuple(Neighbor(p, true) for p in prompts if true is not None),
            relation=label(rewrite, "relation_id"),
            attribute_prompts=texts(record, "attribute_prompts"),
            generation_prompts=texts(record, "generation_prompts"),
            joiner=PUBLISHED,
        )


@final
class CounterFactFlat(Dataset):
    """EasyEdit's flat files: one rephrase prompt and one locality prompt per case.

    Questions of portability are read in both of its spellings, see `data.formats.questions`.
    """

    name: ClassVar[str] = "counterfact-flat"

    def matches(self, record: Record) -> bool:
        """Records with a locality prompt of their own."""
        return {"prompt", "target_new", "locality_prompt"} <= set(record.fields)

    def convert(self, record: Record) -> Edit | None:
        """One case as an edit."""
        target = text(record, "target_new")
        if not target:
            return None
        prompt = optional_text(record, "locality_prompt")
        answer = optional_text(record, "locality_ground_truth")
        return Edit(
            prompt=text(record, "prompt"),
            subject=text(record, "subject"),
            target_new=target,
            target_true=optional_text(record, "ground_truth"),
            id=identifier(record, "case_id"),
            paraphrases=texts(record, "rephrase_prompt"),
            neighborhood=(Neighbor(prompt, answer),) if prompt and answer else (),
            portability=portability(record),
        )
