"""The demo's first minute: six facts of a real model before and after, and what stays as it was."""

from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from revive.api import Editor
from revive.assembly.fit_settings import trial_edits
from revive.data.edits import Edit
from revive.probes.generate import generate

_FACTS = 6
_ASIDE = ("The capital of France is", "William Shakespeare wrote the play")
_PARAGRAPH = "Bread is made from flour and water. To bake a loaf, you first"
_SHORT, _LONG = 7, 40  # tokens


def show_first_facts(model: str, *, quiet: bool) -> None:
    """Edit a model and print what it said and says, with the settings that everybody gets.

    Args:
        model: Its name.
        quiet: No progress.
    """
    editor = Editor.from_pretrained(model, text="package", progress=not quiet)
    facts = trial_edits()[:_FACTS]
    before = _said(editor, facts)
    editor.edit(facts)
    after = _said(editor, facts)
    table = Table(
        title=f"{model}: {_FACTS} facts edited, in one batch", box=box.SIMPLE_HEAD, pad_edge=False
    )
    for head in ("prompt", "it said", "it says now"):
        table.add_column(head, overflow="fold")
    for prompt, old, new in zip(_prompts(facts), before, after, strict=True):
        if prompt == _ASIDE[0]:
            table.add_section()
        table.add_row(prompt, old, new)
    Console().print(table)


def _prompts(facts: tuple[Edit, ...]) -> list[str]:
    """The edits' own, a paraphrase of each, then what no edit is about."""
    asked = [text for edit in facts for text in (edit.text, *edit.paraphrases[:1])]
    return [*asked, *_ASIDE, _PARAGRAPH]


def _said(editor: Editor, facts: tuple[Edit, ...]) -> list[str]:
    model: Any = editor.model
    *short, paragraph = _prompts(facts)
    found = generate(model, editor.tokenizer, short, new_tokens=_SHORT)
    found += generate(model, editor.tokenizer, [paragraph], new_tokens=_LONG)
    return [" ".join(one.continuation.split()) for one in found]
