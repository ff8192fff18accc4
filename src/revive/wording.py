"""Numbers in sentences, and foreign text among ours."""

import unicodedata

_TURNING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")

_LINE, _END = 1500, 400  # characters of a message, and of its end


def counted(number: int, thing: str) -> str:
    """`1 edit`, `2,000 edits`, `3 batches`."""
    several = thing + ("es" if thing.endswith("ch") else "s")
    return f"{number:,} {thing if number == 1 else several}"


def plain(text: str) -> str:
    """Text in which nothing but its letters reaches the terminal; lines stay lines.

    Control characters, escape sequences among them, and marks that turn the direction of writing
    are spelt out, in the way of Python.
    """
    return "".join(c if c in "\n\t" or not commands(c) else _spelt(c) for c in text)


def literal(text: str) -> str:
    """The same on one line: breaks and tabs are spelt out too."""
    return "".join(_spelt(c) if commands(c) else c for c in text)


def brief(message: str) -> str:
    """A message on one line of a length that is read.

    What it quotes may be of any length: of a long one the middle goes, for it begins with the place
    and ends with what to do.
    """
    line = " ".join(message.split())
    return line if len(line) <= _LINE else f"{line[: _LINE - _END]} ... {line[-_END:]}"


def commands(character: str) -> bool:
    """Whether a terminal would obey a character rather than show it."""
    return unicodedata.category(character) in ("Cc", "Cs") or character in _TURNING


def _spelt(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")


def span(seconds: float) -> str:
    """A time that is known roughly: `40 s`, `12 min`, `3.5 h`."""
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 99.5 else f"{minutes / 60:.1f} h"


def cell(value: object) -> object:
    """What stands in a cell of a table for spreadsheets: text of others is no formula there.

    Spreadsheets compute what begins with one of these signs; an apostrophe keeps it a text.
    """
    if not isinstance(value, str):
        return value
    # csv leaves a cell with a lone carriage return unquoted, and no reader takes such a row.
    value = value.replace("\r\n", "\n").replace("\r", "\n")
    if not value.startswith(("=", "+", "-", "@", "\t", "\n")):
        return value
    try:
        float(value)
    except ValueError:
        return f"'{value}"
    return value
