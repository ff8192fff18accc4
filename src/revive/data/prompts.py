"""Prompts in the form in which a model reads them: as they stand, or as a message in a chat.

A chat template is reduced to the constant text around a user's message, once per tokenizer. What
the model reads then ends where its answer begins; the template brings its own special tokens, so
that the tokenizer adds none.

Nothing is put after a target: an answer may go on, as a sentence may. Where it shall end there, the
target says so in the template's own words ("French.<|im_end|>").
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from revive.data.edits import Edit
from revive.data.joining import AUTO, PUBLISHED, joiner
from revive.errors import SpecError

_ASKED, _ANSWERED = "\ue000", "\ue001"  # private characters, which no template looks for
_BLANK = "\u2003"  # white space that no template writes


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a model reads before it answers.

    Attributes:
        text: All of it.
        joiner: What stands before the answer: `auto`, `published`, or a text.
        chat: Whether it comes from a chat template, with the special tokens that belong there.
    """

    text: str
    joiner: str = AUTO
    chat: bool = False

    def continuation(self, target: str) -> str:
        """What follows the prompt: the joiner, then the target.

        A message of a chat begins with its first word, so there a target's leading white space goes
        and the joiner alone counts.
        """
        if self.chat:
            return f"{self.joiner}{target.lstrip()}"
        return f"{joiner(self.text, target, self.joiner)}{target}"


@dataclass(frozen=True, slots=True)
class Placed:
    """A prompt that holds an edit's subject; `subject_end` is the character after it."""

    prompt: Prompt
    subject_end: int


@dataclass(frozen=True, slots=True)
class ChatFrame:
    """What a chat template puts around a user's message.

    Attributes:
        head: What stands before it, the system's message for instance.
        tail: What stands between it and the answer.
        trims: Whether the template removes white space around it.
        joiner: White space that the template puts before an answer but leaves to the model.
    """

    head: str
    tail: str
    trims: bool
    joiner: str

    @classmethod
    def of(cls, tokenizer: Any) -> "ChatFrame":
        """Take a tokenizer's template apart.

        Raises:
            SpecError: It has none, or one that cannot be used.
        """
        if not getattr(tokenizer, "chat_template", None):
            raise SpecError(
                "chat: this model's tokenizer has no chat template; leave chat out (the sentence "
                "form needs none), or use a model that was trained to chat."
            )
        asked = {"role": "user", "content": f"{_BLANK}{_ASKED}{_BLANK}"}
        prompt = _rendered(tokenizer, [asked], opened=True)
        head, found, tail = prompt.partition(_ASKED)
        if not found or _ASKED in tail:
            raise SpecError(
                "chat: the tokenizer's chat template does not hold the user's message once and as "
                "it is; the subject cannot be found in it."
            )
        trims = not (head.endswith(_BLANK) and tail.startswith(_BLANK))
        head, tail = head.removesuffix(_BLANK), tail.removeprefix(_BLANK)
        answered = {"role": "assistant", "content": _ANSWERED}
        whole = _rendered(tokenizer, [asked, answered], opened=False)
        between = whole.removeprefix(prompt).partition(_ANSWERED)[0]
        if not whole.startswith(prompt) or _ANSWERED not in whole:
            between = ""
        if between.strip():
            # Such as an empty block of thoughts: written by the template, so none of the answer.
            tail, between = tail + between, ""
        return cls(head, tail, trims, between)


class Prompts:
    """Texts of edits in the forms that the edits ask for."""

    def __init__(self, tokenizer: Any) -> None:
        """Set up.

        Args:
            tokenizer: Its chat template is looked at when the first chat is asked for.
        """
        self._tokenizer = tokenizer
        self._frame: ChatFrame | None = None

    def of(self, edit: Edit, text: str | None = None) -> Prompt:
        """A text in an edit's form; its own prompt if None.

        Raises:
            SpecError: A chat is asked for, and there is no usable chat template.
        """
        text = edit.text if text is None else text
        if not edit.chat:
            return Prompt(text, edit.joiner)
        frame = self._chat()
        message = text.strip() if frame.trims else text
        return Prompt(f"{frame.head}{message}{frame.tail}", _in_chat(edit, frame), chat=True)

    def placed(self, edit: Edit, before: str, after: str) -> Placed:
        """The edit's subject between two texts, in its form.

        Raises:
            SpecError: A chat is asked for, and there is no usable chat template.
        """
        prompt = self.of(edit, f"{before}{edit.subject}{after}")
        if not edit.chat:
            return Placed(prompt, len(before) + len(edit.subject))
        frame = self._chat()
        kept = before.lstrip() if frame.trims else before
        return Placed(prompt, len(frame.head) + len(kept) + len(edit.subject))

    def _chat(self) -> ChatFrame:
        if self._frame is None:
            self._frame = ChatFrame.of(self._tokenizer)
        return self._frame


def check_forms(tokenizer: Any, edits: Iterable[Edit]) -> None:
    """Refuse chats that a tokenizer has no template for.

    Raises:
        SpecError: A chat is asked for, and there is no usable chat template.
    """
    if any(edit.chat for edit in edits):
        ChatFrame.of(tokenizer)


def _in_chat(edit: Edit, frame: ChatFrame) -> str:
    return frame.joiner if edit.joiner in (AUTO, PUBLISHED) else edit.joiner


def _rendered(tokenizer: Any, messages: list[dict[str, str]], *, opened: bool) -> str:
    from jinja2 import TemplateError

    try:
        return str(
            tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=opened)
        )
    except (TemplateError, ValueError) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise SpecError(
            f"chat: the tokenizer's chat template does not take a user's message ({reason})."
        ) from error
