"""One question of a test set."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One question.

    Two rules may score it. *Likelihood*: each choice is a continuation of the prompt, and the
    likeliest is the model's answer. *Generation*: the model writes on from `question`, and its
    text is searched for one of `labels`, or for a number where there are no choices.

    Attributes:
        prompt: What stands before a choice; empty where choices are whole sentences.
        choices: Continuations as they are joined to the prompt, separating space included.
        answer: Index of the right choice.
        ending: If given, the choices belong to the context and this common ending is what is
            scored (partial scoring of WinoGrande, arXiv:1806.02847).
        question: Prompt of the generation rule; empty where it is `prompt`.
        labels: What a generated answer is expected to say, one per choice; empty where the
            answer is not a label.
        target: The right number, of items without choices.
        preamble: Stands before everything else.
        shots: Solved examples between preamble and prompt. Of a text too long for the model, the
            first ones are left out.
        group: Subject or paradigm; empty where the set has no parts.
        where: Place in the file, for messages.
    """

    prompt: str
    choices: tuple[str, ...] = ()
    answer: int = 0
    ending: str = ""
    question: str = ""
    labels: tuple[str, ...] = ()
    target: str = ""
    preamble: str = ""
    shots: tuple[str, ...] = ()
    group: str = ""
    where: str = ""
