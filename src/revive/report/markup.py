"""The few pieces of HTML that sections are made of."""

from collections.abc import Sequence
from html import escape


def section(title: str, note: str, *parts: str) -> str:
    """A titled section with a line of explanation."""
    line = f'<p class="note">{escape(note)}</p>' if note else ""
    return f"<section><h2>{escape(title)}</h2>{line}{''.join(parts)}</section>"


def html_table(head: Sequence[str], rows: Sequence[str], kind: str = "") -> str:
    """A table that scrolls by itself where it is wider than the screen."""
    heads = "".join(f'<th scope="col">{escape(h)}</th>' for h in head)
    return (
        f'<div class="scroll" tabindex="0"><table class="{kind}"><thead><tr>{heads}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def cells(label: str, values: Sequence[str]) -> str:
    """A row: its label and its values."""
    body = "".join(f"<td>{escape(v)}</td>" for v in values)
    return f'<tr><th scope="row">{escape(label)}</th>{body}</tr>'
