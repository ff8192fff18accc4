"""Docstrings as the help of a command: as wide as the terminal, not as the source."""

import inspect

_EXAMPLE, _ITEM = "    ", "- "


def prose(docstring: str | None) -> str:
    """Join the lines of a paragraph, so that a terminal of any width can break them again.

    Lines that are indented as examples, and items of a list, stay lines of their own. Brackets
    mean themselves, not markup.

    Args:
        docstring: Of the command.
    """
    lines: list[str] = []
    goes_on = False
    for line in inspect.cleandoc(docstring or "").splitlines():
        alone = not line or line.startswith(_EXAMPLE)
        if goes_on and not alone and not line.startswith(_ITEM):
            lines[-1] += f" {line.strip()}"
        else:
            lines.append(line)
        goes_on = not alone
    return "\n".join(lines).replace("[", "\\[")
