"""The edit: what a person wants the model to say."""

from dataclasses import dataclass, field, replace
from typing import Literal

from revive.data.joining import AUTO

Form = bool | Literal["both"]
"""Whether an edit is made as a sentence, in the model's chat template, or as both."""


@dataclass(frozen=True, slots=True)
class Neighbor:
    """A prompt about another subject, whose answer must not change."""

    prompt: str
    target: str


@dataclass(frozen=True, slots=True)
class Question:
    """A prompt whose answer follows from an edit, with every wording of that answer."""

    prompt: str
    answers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MultiHop:
    """Questions that put one chain of facts in different words.

    Attributes:
        questions: Wordings; the chain is known if one of them is answered.
        answers: The answer and its aliases.
        needs: Prompt and new answer of every edit that the chain rests on; until all of them are
            in the model there is nothing to measure.
    """

    questions: tuple[str, ...]
    answers: tuple[str, ...]
    needs: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Edit:
    """One fact to write into the model.

    Attributes:
        prompt: Text up to the answer, with the subject in it; may hold `{}` in the subject's place.
        subject: The subject as it stands in the prompt.
        target_new: The answer the model shall give.
        target_true: The answer it gives now, where known.
        id: Identifier, unique in a stream; derived from the position if empty.
        paraphrases: Other prompts that must give `target_new`.
        neighborhood: Prompts about other subjects that must keep their answer.
        relation: Relation id, where known; only used for orders and reports.
        attribute_prompts: Prompts about other subjects whose true answer is `target_new`.
        portability: Questions whose answer changes with the edit.
        multi_hop: Chains of facts that the edit is part of.
        generation_prompts: Openings that the model continues freely.
        references: Texts that such a continuation should resemble.
        chat: False: the model reads the prompt as it stands. True: as a user's message in its chat
            template, and so every other prompt of the edit. `both`: two edits, see `forms`.
        joiner: What is put between a prompt and its target: a text, or `auto`, a space where the
            language and the prompt's end ask for one; in a chat, what the template puts there.
    """

    prompt: str
    subject: str
    target_new: str
    target_true: str | None = None
    id: str = ""
    paraphrases: tuple[str, ...] = ()
    neighborhood: tuple[Neighbor, ...] = field(default=())
    relation: str | None = None
    attribute_prompts: tuple[str, ...] = ()
    portability: tuple[Question, ...] = ()
    multi_hop: tuple[MultiHop, ...] = ()
    generation_prompts: tuple[str, ...] = ()
    references: tuple[str, ...] = ()
    chat: Form = False
    joiner: str = AUTO

    @property
    def forms(self) -> tuple["Edit", ...]:
        """The edits to be made: for `chat: both` the sentence, and the chat as `ID.chat`."""
        if self.chat != "both":
            return (self,)
        return replace(self, chat=False), replace(self, chat=True, id=f"{self.id}.chat")

    @property
    def text(self) -> str:
        """The prompt with the subject filled in."""
        return self.prompt.replace("{}", self.subject) if "{}" in self.prompt else self.prompt

    @property
    def template(self) -> str:
        """The prompt with `{}` in place of the subject's last occurrence; as it is without one."""
        if "{}" in self.prompt or self.subject not in self.prompt:
            return self.prompt
        before, _, after = self.prompt.rpartition(self.subject)
        return f"{before}{{}}{after}"
