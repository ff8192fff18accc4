import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import EntryPoint

import pytest

from revive import registry
from revive.errors import PrerequisiteError, SpecError


@dataclass
class FakeDistribution:
    name: str


def point(name: str, target: str, distribution: str | None, group: str = "editors") -> EntryPoint:
    made = EntryPoint(name, target, f"revive.{group}")
    vars(made)["dist"] = None if distribution is None else FakeDistribution(distribution)
    return made


@pytest.fixture
def provide(monkeypatch: pytest.MonkeyPatch):
    def install(*points: EntryPoint) -> None:
        monkeypatch.setattr(
            registry, "entry_points", lambda group: [p for p in points if p.group == group]
        )

    return install


def test_an_unknown_name_gets_a_suggestion_and_the_list(provide):
    provide()
    known = registry.names("editors")
    with pytest.raises(SpecError) as caught:
        registry.load("editors", "memti")
    assert known[:2] == ("memit", "memit-seq")
    assert str(caught.value) == (
        f"Unknown editor 'memti'. Did you mean 'memit'? Known: {', '.join(known)}."
    )


def test_a_far_off_name_gets_no_suggestion(provide):
    provide()
    with pytest.raises(SpecError, match=r"Unknown probe 'zzz'\. Known: edits, general"):
        registry.require("probes", "zzz")


@pytest.mark.parametrize("group", registry.GROUPS)
def test_every_builtin_is_described_in_one_line(group: registry.Group, provide):
    provide()
    entries = registry.describe(group)
    assert tuple(e.name for e in entries) == registry.names(group)
    for entry in entries:
        assert entry.origin == "revive-edit"
        assert entry.summary
        assert "\n" not in entry.summary


def test_another_package_can_add_an_editor(provide):
    provide()
    ours = registry.names("editors")
    provide(point("mine", "fractions:Fraction", "Other_Package"))
    from fractions import Fraction

    assert registry.names("editors") == (*ours, "mine")
    assert registry.load("editors", "mine") is Fraction
    assert registry.describe("editors")[-1].origin == "other-package"
    assert not registry.is_builtin("editors", "mine")


def test_our_own_entry_points_are_no_rivals(provide):
    provide()
    ours = registry.names("editors")
    provide(point("memit", "revive.editors.memit:Memit", "revive_edit"))
    assert registry.names("editors") == ours


def test_a_builtin_cannot_be_shadowed(provide):
    provide(point("memit", "fractions:Fraction", "evil"))
    with pytest.raises(SpecError, match="'revive-edit' and 'evil'"):
        registry.load("editors", "memit")


def test_two_distributions_cannot_share_a_name(provide):
    provide(point("mine", "a:b", "one"), point("mine", "c:d", "two"))
    with pytest.raises(SpecError, match="editor 'mine': 'one' and 'two'"):
        registry.names("editors")


def test_one_distribution_seen_twice_is_one(provide):
    provide(point("mine", "fractions:Fraction", "one"), point("mine", "fractions:Fraction", "One"))
    assert registry.names("editors")[-1] == "mine"


@pytest.mark.parametrize("target", ["no_such_module:x", "fractions:NoSuchThing"])
def test_a_broken_package_is_a_missing_prerequisite_and_does_not_break_the_list(
    provide, target: str
):
    provide(point("mine", target, "one"))
    with pytest.raises(PrerequisiteError, match="editor 'mine' of distribution 'one'"):
        registry.load("editors", "mine")
    assert "cannot be imported" in registry.describe("editors")[-1].summary


def test_an_entry_point_without_a_distribution_is_accepted(provide):
    provide(point("mine", "fractions:Fraction", None))
    assert registry.describe("editors")[-1].origin == "unknown"


@pytest.mark.parametrize("group", ["editors", "guards"])
def test_the_table_says_what_the_classes_say(group: registry.Group, provide):
    provide()
    for entry in registry.describe(group):
        found = registry.load(group, entry.name)
        assert (found.name, found.paper, found.summary) == (entry.name, entry.paper, entry.summary)


@pytest.mark.parametrize("group", ["models", "datasets", "probes"])
def test_every_target_is_there_under_its_name(group: registry.Group, provide):
    provide()
    assert [registry.load(group, n).name for n in registry.names(group)] == list(
        registry.names(group)
    )


LIGHT = (
    "revive.registry",
    "revive.data.readers",
    "revive.data.order",
    "revive.spec.parsing",
    "revive.run_folder.journal",
    "revive.runs.environment",
    "revive.run_folder.summary",
    "revive.options.editors",
)


def test_specs_data_and_journals_import_no_torch():
    code = (
        f"import importlib, sys\n"
        f"for name in {LIGHT!r}: importlib.import_module(name)\n"
        "from revive.data.readers import load_edits\n"
        "from revive import registry\n"
        "load_edits('lab', limit=3)\n"
        "for group in registry.GROUPS: registry.describe(group)\n"
        "heavy = {'torch', 'transformers', 'safetensors', 'numpy'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
