"""Whether one edit makes sense by itself."""

from collections.abc import Iterator
from dataclasses import replace

from revive.data.edits import Edit, MultiHop, Neighbor, Question
from revive.data.joining import PUBLISHED
from revive.errors import SpecError

_LONGEST = 100_000
"""Characters of a text; the longest of the published sets are some thousands."""


def check_edit(edit: Edit, where: str) -> Edit:
    """Check one edit against itself.

    Returns:
        The edit, its subject trimmed; all of it where its joiner is `published`.

    Raises:
        SpecError: A needed text is empty, or the subject is not in the prompt.
    """
    edit = (
        trimmed(edit) if edit.joiner == PUBLISHED else replace(edit, subject=edit.subject.strip())
    )
    for key in ("prompt", "subject", "target_new"):
        if not getattr(edit, key).strip():
            raise SpecError(f"{where}: {key} is empty; every edit needs it.")
    if not _is_text(edit):
        raise SpecError(f"{where}: holds half a character (a lone surrogate); replace it.")
    longest = max(map(len, _texts(edit)))
    if longest > _LONGEST:
        raise SpecError(
            f"{where}: holds a text of {longest:,} characters, which no model reads; shorten it to "
            f"{_LONGEST:,} at most."
        )
    if "{}" in edit.subject:
        raise SpecError(f"{where}: subject {edit.subject!r} holds {{}}, which stands for it.")
    places = edit.prompt.count("{}")
    if places > 1:
        raise SpecError(
            f"{where}: prompt {edit.prompt!r} holds {{}} {places} times; keep the one that the "
            "edit is about."
        )
    if places == 0 and edit.subject not in edit.prompt:
        cased = edit.subject.casefold() in edit.prompt.casefold()
        raise SpecError(
            f"{where}: subject {edit.subject!r} is not in the prompt {edit.prompt!r}"
            + (", though it is with other upper and lower case" if cased else "")
            + "; write it there exactly, or put {} in its place."
        )
    return edit


def trimmed(edit: Edit) -> Edit:
    """The edit without white space around its texts."""
    return replace(
        edit,
        prompt=edit.prompt.strip(),
        subject=edit.subject.strip(),
        target_new=edit.target_new.strip(),
        target_true=None if edit.target_true is None else edit.target_true.strip(),
        paraphrases=_each(edit.paraphrases),
        neighborhood=tuple(Neighbor(n.prompt.strip(), n.target.strip()) for n in edit.neighborhood),
        attribute_prompts=_each(edit.attribute_prompts),
        portability=tuple(Question(q.prompt.strip(), _each(q.answers)) for q in edit.portability),
        multi_hop=tuple(
            MultiHop(
                _each(hop.questions),
                _each(hop.answers),
                tuple((prompt.strip(), target.strip()) for prompt, target in hop.needs),
            )
            for hop in edit.multi_hop
        ),
        generation_prompts=_each(edit.generation_prompts),
        references=_each(edit.references),
    )


def _each(texts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(text.strip() for text in texts)


def _texts(edit: Edit) -> Iterator[str]:
    """Every text of an edit."""
    yield from (
        edit.prompt,
        edit.subject,
        edit.target_new,
        edit.target_true or "",
        edit.id,
        edit.joiner,
    )
    for group in (edit.paraphrases, edit.attribute_prompts, edit.generation_prompts):
        yield from group
    yield from (text for n in edit.neighborhood for text in (n.prompt, n.target))
    yield from (text for q in edit.portability for text in (q.prompt, *q.answers))
    yield from (text for hop in edit.multi_hop for text in (*hop.questions, *hop.answers))
    yield from edit.references


def _is_text(edit: Edit) -> bool:
    """JSON can spell halves of characters, which no tokenizer and no UTF-8 file takes."""
    try:
        "".join(_texts(edit)).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
