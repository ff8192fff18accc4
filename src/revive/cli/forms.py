"""In which form edits are made and measured: the options that `edit` and `evaluate` share."""

import json
from typing import Annotated

import typer

from revive.data.edits import Form

Chat = Annotated[
    bool,
    typer.Option(
        "--chat",
        help="Ask for every edit as a user's message in the model's chat template; with --sentence "
        "in both forms.",
    ),
]
Sentence = Annotated[
    bool,
    typer.Option(
        "--sentence", help="Ask for every edit as the sentence it is \\[default: as the file says]."
    ),
]
Joiner = Annotated[
    str | None,
    typer.Option(
        help="What stands between prompt and target: a text; 'auto', a space where the language "
        "and the prompt's end ask for one; 'published', one space between trimmed texts "
        "\\[default: as the file says, published for CounterFact and zsRE, else auto]."
    ),
]


def form_of(chat: bool, sentence: bool) -> Form | None:
    """The form that was asked for; None leaves it to each edit."""
    if chat and sentence:
        return "both"
    return True if chat else False if sentence else None


def form_overrides(chat: bool, sentence: bool, joiner: str | None) -> list[str]:
    """The same as keys of a spec; JSON's quotes and words are YAML's too."""
    given = {"chat": form_of(chat, sentence), "joiner": joiner}
    return [f"edits.{k}={json.dumps(v)}" for k, v in given.items() if v is not None]
