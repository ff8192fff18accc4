"""One edit is not edits."""

import pytest

from revive.cli.complaints import account
from revive.errors import SpecError
from revive.wording import brief, counted


@pytest.mark.parametrize(
    ("number", "thing", "said"),
    [
        (0, "edit", "0 edits"),
        (1, "edit", "1 edit"),
        (2_000, "edit", "2,000 edits"),
        (1, "batch", "1 batch"),
        (3, "committed batch", "3 committed batches"),
    ],
)
def test_numbers_agree_with_what_they_count(number, thing, said):
    assert counted(number, thing) == said


def test_a_message_that_quotes_pages_keeps_its_place_and_its_advice():
    message = f"edits.jsonl, line 3: prompt {'x y' * 40_000!r} is long;\n shorten it."
    found = brief(message)
    assert found.startswith("edits.jsonl, line 3: prompt 'x y")
    assert found.endswith("is long; shorten it.")
    assert len(found) == 1505
    assert account(SpecError(message)) == (2, found)
    assert brief("two\nlines of few words") == "two lines of few words"
