"""What an interrupted run goes on with: by the same command, and never with another spec."""

import shutil

import pytest
import yaml
from e2e_runs import cut_after, journal, rewrite_journal, short_editor, write_edits

from revive import registry
from revive.apply_edits import apply_and_save, edit_spec
from revive.errors import SpecError
from revive.options.editors import OPTIONS
from revive.run_folder.journal import Journal
from revive.runs.loop import resume
from revive.runs.observers import Observer
from revive.spec.parsing import read_model_config, resolve

SETTINGS = {**short_editor(), "l2": 10.0, "threshold": 0.3, "steps": 2}
OWN = {"ft": {"lr": 1e-3}, "ultraedit": {"lr": 1e-3}}
GUARDS = {
    "none": [],
    "revive": [],
    "a list": ["guard=[revive, norm-cap]"],
    "constrained": ["guard.solve=constrained"],
    "tau open": ["guard.energy=auto"],
    "lambda open": [],
}


class Impatient(Observer):
    """Presses Ctrl-C after the first batch."""

    def batch(self, edits):
        raise KeyboardInterrupt


def command(name, guard, folder, corpus, edits, *more):
    """The resolved spec of the same command, made anew."""
    known = OPTIONS[name].model_fields
    chosen = {k: v for k, v in {**SETTINGS, **OWN.get(name, {})}.items() if k in known}
    if guard == "lambda open":
        del chosen[OPTIONS[name].strength]
    words = [f"editor.{key}={value}" for key, value in chosen.items()]
    overrides = [*words, "edits.batch_size=2", "probes=[edits]", *GUARDS[guard], *more]
    named = guard if guard in ("none", "revive") else "revive"
    model = {"name": str(folder), "device": "cpu"}
    spec = edit_spec(model, edits, name, named, [corpus], "error", overrides)
    return resolve(spec, read_model_config(spec.model.name))


@pytest.fixture(scope="module")
def edits(tmp_path_factory):
    return write_edits(tmp_path_factory.mktemp("edits") / "edits.jsonl", 4)


CASES = [
    *((name, guard) for name in registry.names("editors") for guard in ("none", "a list")),
    *(("memit", guard) for guard in ("constrained", "tau open", "lambda open")),
    *(("rome", "revive"), ("ft", "lambda open")),
]


@pytest.mark.parametrize(("name", "guard"), CASES)
def test_the_same_command_continues(name, guard, tiny_folder, corpus, edits, tmp_path):
    run, out = tmp_path / "run", tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        apply_and_save(command(name, guard, tiny_folder, corpus, edits), run, out, Impatient())
    apply_and_save(command(name, guard, tiny_folder, corpus, edits), run, out)
    assert [e["event"] for e in Journal.read(run / "journal.jsonl")].count("batch") == 2
    assert (out / "config.json").is_file()


def test_the_same_command_with_another_setting_does_not(tiny_folder, corpus, edits, tmp_path):
    run, out = tmp_path / "run", tmp_path / "out"
    given = ("rome", "revive", tiny_folder, corpus, edits)
    with pytest.raises(KeyboardInterrupt):
        apply_and_save(command(*given), run, out, Impatient())
    with pytest.raises(SpecError, match="other settings"):
        apply_and_save(command(*given, "editor.steps=3"), run, out)


@pytest.fixture
def cut(calm_run, tmp_path):
    """A run that was killed after its third batch."""
    folder = shutil.copytree(calm_run, tmp_path / "cut")
    cut_after(folder, "batch", 3)
    return folder


def rewrite(folder, change):
    path = folder / "spec.yaml"
    data = yaml.safe_load(path.read_text("utf-8"))
    change(data)
    path.write_text(yaml.safe_dump(data), "utf-8")


@pytest.mark.parametrize(
    ("part", "key", "value", "told"),
    [
        ("editor", "ridge", 2000.0, "editor.ridge was 1000.0 and is 2000.0"),
        ("editor", "steps", 5, "editor.steps was 4 and is 5"),
        ("edits", "batch_size", 3, "edits.batch_size was 2 and is 3"),
        ("guard", "solve", "constrained", 'guard.solve was "posthoc" and is "constrained"'),
        ("moments", "window", 7, "moments.window was 128 and is 7"),
        (None, "seed", 9, "seed was 0 and is 9"),
        ("model", "dtype", "bfloat16", 'model.dtype was "float32" and is "bfloat16"'),
    ],
)
def test_a_spec_that_changed_under_a_run_is_refused(cut, part, key, value, told):
    before = {p: p.read_bytes() for p in cut.rglob("*") if p.is_file() and p.name != ".lock"}
    rewrite(cut, lambda data: (data if part is None else data[part]).__setitem__(key, value))
    changed = (cut / "spec.yaml").read_bytes()
    with pytest.raises(SpecError) as refused:
        resume(cut)
    assert f"has changed since the run began: {told}; put it back" in str(refused.value)
    after = {p: p.read_bytes() for p in cut.rglob("*") if p.is_file() and p.name != ".lock"}
    assert after == {**before, cut / "spec.yaml": changed}


def test_what_changes_no_result_may_change(cut, calm_run):
    def change(data):
        data.update(label="mine", role="guarded", checkpoint={"every": 2, "keep": 1})

    rewrite(cut, change)
    resume(cut)
    same_updates(cut, calm_run)


def same_updates(run, other):
    for update in (other / "updates").iterdir():
        assert (run / "updates" / update.name).read_bytes() == update.read_bytes()


def test_a_run_of_an_older_version_goes_on_without_a_record(cut, calm_run):
    first, *rest = journal(cut)
    assert first.pop("spec")["editor"]["ridge"] == 1000.0
    rewrite_journal(cut, [first, *rest])
    resume(cut)
    same_updates(cut, calm_run)
