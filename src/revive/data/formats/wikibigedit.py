"""WikiBigEdit (arXiv:2503.05683): questions about changes of Wikidata."""

from typing import ClassVar, final

from revive.data.edits import Edit, MultiHop, Neighbor
from revive.data.formats.dataset import Dataset
from revive.data.formats.fields import identifier, label, optional_text, text, texts
from revive.data.formats.records import Record


@final
class WikiBigEdit(Dataset):
    """`update` is edited to answer `ans`; `loc` is an unrelated question.

    `rephrase` and every `personas*` field are paraphrases; `mhop` with `mhop_ans` is a chain of
    facts that rests on this edit. The questions are machine-made: a record whose question does not
    spell its subject cannot be edited and is skipped.
    """

    name: ClassVar[str] = "wikibigedit"

    def matches(self, record: Record) -> bool:
        """Records with an updated question and its answer."""
        return {"update", "ans"} <= set(record.fields)

    def convert(self, record: Record) -> Edit | None:
        """One question as an edit."""
        prompt, target = text(record, "update"), text(record, "ans")
        subject = text(record, "subject").strip()
        if not target or subject not in prompt:
            return None
        asked, answer = optional_text(record, "loc"), optional_text(record, "loc_ans")
        hop, hop_answer = optional_text(record, "mhop"), optional_text(record, "mhop_ans")
        personas = [key for key in record.fields if key.startswith("personas")]
        chain = MultiHop((hop,), (hop_answer,), ((prompt, target),)) if hop and hop_answer else None
        return Edit(
            prompt=prompt,
            subject=subject,
            target_new=target,
            id=identifier(record, "case_id"),
            paraphrases=tuple(p for key in ("rephrase", *personas) for p in texts(record, key)),
            neighborhood=(Neighbor(asked, answer),) if asked and answer else (),
            relation=label(record, "relation"),
            multi_hop=(chain,) if chain else (),
        )
