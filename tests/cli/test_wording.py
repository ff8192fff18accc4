"""One edit is not edits."""

import pytest

from revive.wording import counted


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
