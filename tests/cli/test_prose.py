"""Docstrings become help of any width: paragraphs are joined, lists and examples are not."""

import pytest

from revive.cli.main import app
from revive.cli.prose import prose

DOCSTRING = """Do a thing.

    What it does is told over
    two lines.

    - one: the first,
      which is long.
    - two: the second.

    Examples:
        revive thing a
        revive thing b
    """


def test_paragraphs_are_joined_lists_and_examples_are_not():
    assert prose(DOCSTRING).splitlines() == [
        "Do a thing.",
        "",
        "What it does is told over two lines.",
        "",
        "- one: the first, which is long.",
        "- two: the second.",
        "",
        "Examples:",
        "    revive thing a",
        "    revive thing b",
    ]


def test_brackets_mean_themselves(revive):
    for called in (("--help",), ("moments", "--help")):
        assert "Accumulate E[k k^T]" in revive(*called).out


@pytest.mark.parametrize("command", app.registered_commands, ids=lambda c: c.name)
def test_a_paragraph_is_broken_by_the_width_of_the_terminal_alone(revive, command, monkeypatch):
    monkeypatch.setenv("COLUMNS", "2000")
    shown = [line.rstrip() for line in revive(command.name, "--help").out.splitlines()]
    for line in prose(command.callback.__doc__).replace("\\[", "[").splitlines():
        assert f" {line}".rstrip() in shown
