"""Specs and options that are wrong are refused with the key, the file and what to write instead."""

import pytest
from calling import files

PARTS = {
    "editor": ({"editor": {"name": "memit-sek"}}, "editor.name", "'memit-seq'"),
    "guard": ({"guard": {"name": "revve"}}, "guard.name", "'revive'"),
    "key": ({"chekpoint": {"every": 2}}, "unknown key 'chekpoint'", "'checkpoint'"),
    "key in a part": ({"checkpoint": {"evry": 2}}, "checkpoint.evry", "'every'"),
    "editor option": ({"editor": {"layer": [1]}}, "editor.layer", "'layers'"),
    "guard option": ({"guard": {"name": "revive", "enrgy": 0.2}}, "guard.enrgy", "'energy'"),
    "probe": ({"probes": [{"name": "edit"}]}, "probes.0.name", "'edits'"),
    "probe option": ({"probes": [{"name": "edits", "sampel": 3}]}, "probes.0.sampel", "'sample'"),
    "preset": ({"editor": {"preset": "llama-3-8"}}, "editor.preset", "'llama-3-8b'"),
    "format": (
        {"edits": {"path": "e", "format": "counterfakt"}},
        *("edits.format", "'counterfact'"),
    ),
}
VALUES = {
    "dtype": ({"model.dtype=float8"}, "model.dtype", "float32, bfloat16, float16, float64"),
    "device": ({"model.device=gpu"}, "model.device", "'gpu'"),
    "batch size": ({"edits.batch_size=0"}, "edits.batch_size", "greater than or equal to 1"),
    "energy": ({"guard.energy=1.5"}, "guard.energy", "less than 1"),
    "text for a number": ({"editor.ridge=much"}, "editor.ridge", "expected a number"),
    "an infinite number": ({"editor.lr=.inf"}, "editor.lr", "finite number"),
    "layers out of order": ({"editor.layers=[1, 0]"}, "layers must be ascending"),
    "no such layer": ({"editor.layers=[2, 3]"}, "block 3 does not exist", "blocks 0 to 2"),
    "negative layer": ({"editor.layers=[-1]"}, "editor.layers", "greater than or equal to 0"),
    "no such text": ({"moments.text=[none.txt]"}, "moments.text", "none.txt"),
    "no equals sign": ({"guard.energy"}, "--set guard.energy", "expected key=value"),
    "into a value": ({"edits.limit.x=3"}, "edits.limit"),
}


@pytest.mark.parametrize("name", PARTS)
def test_an_unknown_name_comes_with_the_one_that_was_meant(revive, spec, tmp_path, name):
    parts, where, meant = PARTS[name]
    path = spec(**parts)
    before = files(tmp_path)
    for command in (("check", path), ("run", path, "--out", "out", "--quiet")):
        revive(*command).refused(2, where, f"Did you mean {meant}?")
    assert files(tmp_path) == before


@pytest.mark.parametrize("name", VALUES)
def test_a_wrong_value_is_refused_with_what_it_may_be(revive, spec, tmp_path, name):
    (override,), *parts = VALUES[name]
    ran = revive("run", spec(), "--set", override, "--out", "out", "--quiet")
    ran.refused(2, *parts)
    assert not (tmp_path / "out" / "updates").exists()
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("edits: lab\nmodel: [", "spec.yaml, line 2"),
        ("- a\n- b\n", "expected a mapping"),
        ("", "expected a mapping"),
        ("edits: {path: lab}\n", "model: is missing"),
        ("model: {name: lab}\nmodel: {name: x}\nedits: lab\n", "model"),
    ],
)
def test_a_file_that_is_no_spec(revive, tmp_path, text, reason):
    (tmp_path / "spec.yaml").write_text(text, "utf-8")
    revive("check", "spec.yaml").refused(2, "spec.yaml", reason)


def test_a_spec_that_is_not_there(revive, tmp_path):
    revive("run", "none.yaml", "--quiet").refused(2, "none.yaml: no such file; check the path")
    revive("check", tmp_path).refused(2, "is a folder, expected a spec file")


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("rnu",), ("No such command 'rnu'", "Did you mean 'run'", "revive --help")),
        (("run",), ("run: Missing argument", "'revive run --help'")),
        (("run", "a", "--quite"), ("No such option: --quite", "--quiet")),
        (("list", "editor"), ("'editor' is not one of 'editors', 'guards'", "list --help")),
        (("evaluate", "lab", "--limit", "few"), ("--limit", "integer")),
        (("evaluate", "lab", "--tasks", "fact"), ("unknown task 'fact'", "Did you mean 'facts'?")),
        (("rollback", "r", "--to", "1", "--edit", "e"), ("either --to STEP or --edit ID",)),
    ],
)
def test_a_mistyped_command_line(revive, arguments, parts):
    revive(*arguments).refused(2, *parts)


def test_a_mistyped_command_line_in_a_real_process(process):
    process("list", "editor").refused(2, "'editor' is not one of")
    process("chekc", "spec.yaml").refused(2, "Did you mean 'check'?")


def test_the_traceback_is_there_for_those_who_ask(revive):
    with pytest.raises(Exception, match=r"none\.yaml: no such file"):
        revive("run", "none.yaml", "--debug")
