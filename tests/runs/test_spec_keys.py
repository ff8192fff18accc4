"""The reference of spec keys: all of them, each with its meaning, and the page in the docs."""

from pathlib import Path

import pytest

from revive.spec.reference import page, spec_keys
from revive.spec.resolve import editor_options
from revive.spec.schema import EditorSpec

PAGE = Path(__file__).resolve().parents[2] / "docs" / "spec.md"


def test_the_page_is_what_the_command_prints():
    assert PAGE.read_text("utf-8") == page(), (
        "write it anew: revive list keys --markdown > docs/spec.md"
    )


def test_every_key_says_what_it_does():
    silent = [key.name for key in spec_keys() if not (key.meaning and key.values and key.default)]
    assert not silent


def test_keys_of_every_part_are_there_once():
    found = [(key.section, key.name) for key in spec_keys()]
    assert len(found) == len(set(found))
    names = {name for _, name in found}
    for wanted in ("model.name", "repair.share", "guard.energy", "editor.ridge", "probes.sample"):
        assert wanted in names
    assert sum(name == "editor.layers" for _, name in found) == 1


@pytest.mark.parametrize("editor", ["memit", "alphaedit", "ft", "prune"])
def test_every_setting_of_an_editor_is_told(editor):
    told = {
        key.name.removeprefix("editor.")
        for key in spec_keys()
        if key.section.startswith("editor: ") and (editor in key.section or "all" in key.section)
    }
    assert set(editor_options(EditorSpec(name=editor)).model_dump()) <= told
