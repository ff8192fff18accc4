"""Names of the version before still work, and warn."""

import importlib
import sys
import tomllib
from pathlib import Path

import pytest

from revive.renamed import MODULES, NAMES

RENAMES = Path(__file__).resolve().parents[2] / "docs" / "renames.toml"


def listed():
    return tomllib.loads(RENAMES.read_text("utf-8"))


@pytest.mark.parametrize("old", MODULES)
def test_an_old_module_hands_on_what_the_new_one_holds(old):
    sys.modules.pop(old, None)
    with pytest.warns(DeprecationWarning, match=MODULES[old]):
        module = importlib.import_module(old)
    new = importlib.import_module(MODULES[old])
    name = next(n for n, v in vars(new).items() if getattr(v, "__module__", "") == new.__name__)
    assert getattr(module, name) is getattr(new, name)
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = module.no_such_name


@pytest.mark.parametrize(
    ("module", "old"), [(m, old) for m, names in NAMES.items() for old in names]
)
def test_an_old_name_is_the_new_one(module, old):
    # Of a module that moved, the old name is asked for where it was.
    before = next((a for a, b in MODULES.items() if b == module), module)
    with pytest.warns(DeprecationWarning, match=NAMES[module][old]):
        found = getattr(importlib.import_module(before), old)
    assert found is getattr(importlib.import_module(module), NAMES[module][old])


def test_what_was_never_there_is_not_found():
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("revive.runs.nothing")
    from revive.editors import base

    with pytest.raises(AttributeError):
        _ = base.Nothing


def test_the_list_of_names_agrees():
    moved = {f"revive.{a}": f"revive.{b}" for a, b in listed()["modules"].items()}
    assert all(moved[old] == new for old, new in MODULES.items())
    for new in (*moved.values(), *listed()["outside"].values()):
        path = new.replace(".", "/") + ".py"
        root = RENAMES.parents[1] / ("" if new.startswith("recipes") else "src")
        assert (root / path).is_file(), new
    for key, name in listed()["names"].items():
        old = f"revive.{key.partition(':')[0]}"
        source = RENAMES.parents[1] / "src" / (moved.get(old, old).replace(".", "/") + ".py")
        assert name in source.read_text("utf-8"), key
