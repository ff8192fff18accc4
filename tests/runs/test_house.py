"""The picture of the packages is that of the code; every room is small enough to be read."""

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "revive"
MOST = 20


def drawn():
    spec = importlib.util.spec_from_file_location("house", ROOT / "recipes" / "house.py")
    house = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(house)
    return house


def test_the_picture_is_up_to_date():
    """`python recipes/house.py` draws it anew."""
    assert (ROOT / "docs" / "house.svg").read_text("utf-8") == drawn().draw()


def test_what_is_drawn_is_read_from_the_imports():
    house = drawn()
    order = [room for row in house.rows() for room in row]
    assert house.uses("linalg", order) == ["errors"]
    assert "models" in house.uses("editors", order)
    assert "guards" not in house.uses("editors", order)


def test_no_room_holds_more_files_than_can_be_taken_in():
    for folder in {file.parent for file in PACKAGE.rglob("*.py")}:
        assert len(list(folder.glob("*.py"))) <= MOST, folder


PAGE = (ROOT / "docs" / "architecture.md").read_text("utf-8")


@pytest.mark.parametrize(
    ("file", "name"), sorted(set(re.findall(r"`([\w/]+\.py)`(?: `([\w.]+)`)?", PAGE)))
)
def test_the_page_names_what_there_is(file, name):
    """A file and what stands in it, or a test that holds somebody to something."""
    path = (ROOT if file.startswith("tests") else PACKAGE) / file
    text = path.read_text("utf-8")
    for part in filter(None, name.split(".")):
        assert re.search(rf"^ *(def|class) {part}\b", text, re.MULTILINE), (file, name)


def test_the_page_names_folders_there_are():
    for folder in re.findall(r"`([\w/]+)/`", PAGE):
        assert any((root / folder).is_dir() for root in (PACKAGE, ROOT, ROOT / "src")), folder
