from pathlib import Path

import pytest

from revive.errors import SpecError
from revive.io.yaml_text import format_yaml, parse_yaml
from revive.spec.parsing import RunSpec, dump_spec, load_spec, parse_spec

SHORT = "model: lab\nedits: lab\n"


def write(folder: Path, text: str) -> Path:
    path = folder / "run.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def refusal(folder: Path, text: str, *overrides: str) -> str:
    with pytest.raises(SpecError) as caught:
        load_spec(write(folder, text), overrides)
    message = str(caught.value)
    assert "\n" not in message
    assert "pydantic" not in message
    return message


def test_the_contract_form_is_read(tmp_path: Path):
    spec = load_spec(
        write(
            tmp_path,
            """
            model: {name: lab}
            edits: {path: edits.jsonl, limit: 2000, batch_size: 100, order: file, seed: 0}
            editor: {name: memit, layers: [2, 3, 4]}
            guard: {name: revive, energy: 0.1, basis: original, solve: posthoc}
            probes: [{name: edits, every: 5, sample: 500}, {name: general, every: 5}, spectrum]
            checkpoint: {every: 5}
            """,
        )
    )
    assert spec.editor.settings() == {"layers": [2, 3, 4]}
    assert spec.probes[0].settings() == {"sample": 500}
    assert [p.name for p in spec.probes] == ["edits", "general", "spectrum"]
    assert spec.guard.energy == 0.1


def test_a_name_alone_is_enough(tmp_path: Path):
    spec = load_spec(write(tmp_path, SHORT + "guard: none\neditor: memit\n"))
    assert (spec.model.name, spec.edits.path) == ("lab", "lab")
    assert (spec.guard.name, spec.editor.name) == ("none", "memit")


def test_writing_and_reading_back_gives_the_same(tmp_path: Path):
    spec = parse_spec(
        {
            "model": "lab",
            "edits": {"path": "lab", "limit": 7},
            "editor": {"name": "memit", "ridge": 1e-3, "layers": [1]},
            "probes": [{"name": "perplexity", "text": "a.txt", "every": 3}],
            "moments": {"text": "corpus.txt"},
        }
    )
    assert load_spec(write(tmp_path, dump_spec(spec))) == spec
    assert spec.moments.text == ["corpus.txt"]


def test_no_guard_is_written_as_its_name_alone():
    text = dump_spec(parse_spec({"model": "lab", "edits": "lab", "guard": "none"}))
    assert "guard: {name: none}" in text


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        ("gaurd: none", "run.yaml: gaurd: unknown key 'gaurd'. Did you mean 'guard'?"),
        ("guard: {enrgy: 0.1}", "guard.enrgy: unknown key 'enrgy'. Did you mean 'energy'?"),
        ("editor: {name: memit, layer: [1]}", "editor.layer: unknown key 'layer'. Did you mean"),
        ("editor: {name: memti}", "editor.name: Unknown editor 'memti'. Did you mean 'memit'?"),
        ("guard: {name: revieve}", "guard.name: Unknown guard 'revieve'. Did you mean 'revive'?"),
        ("probes: [{name: edit}]", "probes.0.name: Unknown probe 'edit'. Did you mean 'edits'?"),
        ("probes: [edits, {name: edits, smaple: 3}]", "probes.1.smaple: unknown key 'smaple'. Did"),
        ("probes: [{name: perplexity}]", "probes.0.text: is missing; add `text: ...`"),
        ("probes: edits", "probes: expected a list, as in [a, b], got text 'edits'."),
        ("probes: [3]", "probes.0: expected a mapping, as in {key: value}, got a number 3."),
        ("guard: {energy: 1.5}", "guard.energy: must be less than 1, got 1.5."),
        ("guard: {energy: high}", "guard.energy: expected a number, got text 'high'. For example"),
        ("guard: {energy: .nan}", "guard.energy: must be"),
        ("guard: {basis: currant}", "guard.basis: 'currant' is not one of original, current. Did"),
        ("guard: {solve: constrained, when: batch}", "guard: solve: constrained happens inside"),
        ("guard: null", "guard: expected a mapping, as in {key: value}, got null."),
        ("guard: 5", "guard: expected a mapping, as in {key: value}, got a number 5."),
        ("guard: []", "guard: expected a mapping, as in {key: value}, got a list."),
        ("guard: [revive, revvie]", "guard.1.name: Unknown guard 'revvie'. Did you mean"),
        ("editor: {layers: 3}", "editor.layers: expected a list, as in [a, b], got a number 3."),
        ("editor: {layers: [3, 2]}", "editor: layers must be ascending and different"),
        ("editor: {layers: []}", "editor: layers must be ascending"),
        ("editor: {layers: [a]}", "editor.layers.0: expected a whole number, got text 'a'."),
        ("editor: {steps: 2.5}", "editor.steps: expected a whole number, got a number 2.5."),
        ("editor: {lr: 0}", "editor.lr: must be greater than 0, got 0."),
        ("editor: {lr: .inf}", "editor.lr: expected a finite number, got a number inf"),
        ("threads: true", "threads: expected a whole number, got true or false True."),
        ("checkpoint: {every: 0}", "checkpoint.every: must be greater than or equal to 1, got 0."),
        ("moments: {text: [1]}", "moments.text.0: expected text, got a number 1."),
        ("seed: x", "seed: expected a whole number, got text 'x'. For example `seed: 0`."),
        ("1: x", "run.yaml"),
    ],
)
def test_a_wrong_spec_is_refused_with_place_and_remedy(tmp_path: Path, extra: str, expected: str):
    assert expected in refusal(tmp_path, f"{SHORT}{extra}\n")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("edits: lab\n", "model: is missing; add `model: ...`"),
        ("edits: {limit: 3}\nmodel: lab\n", "edits.path: is missing"),
        ("model: {nam: lab}\nedits: lab\n", "model.nam: unknown key 'nam'. Did you mean 'name'?"),
        ("model: {name: lab, device: gpu}\nedits: lab\n", "model.device: "),
        ("model: {name: lab, dtype: fp32}\nedits: lab\n", "model.dtype: 'fp32' is not one of"),
        ("model: lab\nedits: {path: lab, order: randm}\n", "Did you mean 'random'?"),
        ("model: lab\nedits: {path: lab, format: jsnl}\n", "edits.format: Unknown dataset 'jsnl'"),
        ("model: lab\nedits: {path: lab, batch_size: ten}\n", "For example `batch_size: 100`."),
        ("model: lab\nmodel: lab\n", "line 2: not valid YAML (key 'model' is given twice)"),
        ("model: [\n", "line 2: not valid YAML"),
        ("- a\n", "expected a mapping with at least `model` and `edits`"),
        ("", "expected a mapping with at least"),
        ("a: !!python/object:os.system x\n", "not valid YAML"),
        ("a: \x07\n", "not valid YAML"),
        ("? [a]\n: b\n", "run.yaml"),
        ("model: 2024-99-99\n", "not valid YAML"),
    ],
)
def test_a_broken_file_is_refused(tmp_path: Path, text: str, expected: str):
    message = refusal(tmp_path, text)
    assert expected in message
    assert "run.yaml" in message


def test_missing_files_folders_and_other_encodings_are_refused(tmp_path: Path):
    with pytest.raises(SpecError, match="no such file"):
        load_spec(tmp_path / "none.yaml")
    with pytest.raises(SpecError, match="is a folder"):
        load_spec(tmp_path)
    (tmp_path / "latin.yaml").write_bytes(b"model: \xe9\n")
    with pytest.raises(SpecError, match="not UTF-8"):
        load_spec(tmp_path / "latin.yaml")


def test_more_problems_are_counted(tmp_path: Path):
    assert "(1 more after this)" in refusal(tmp_path, f"{SHORT}gaurd: x\nsed: 1\n")


def test_numbers_may_be_written_short(tmp_path: Path):
    text = SHORT + "editor: {lr: 1e-3, ridge: 15000}\n"
    assert load_spec(write(tmp_path, text)).editor.settings() == {"lr": 0.001, "ridge": 15000}


def test_overrides(tmp_path: Path):
    text = SHORT + "guard: revive\nprobes: [{name: edits, every: 5}]\n"
    spec = load_spec(
        write(tmp_path, text),
        [
            "guard.energy=2e-1",
            "probes.0.every=2",
            "edits.limit=9",
            "editor.layers=[1, 2]",
            "seed=4",
        ],
    )
    assert (spec.guard.name, spec.guard.energy) == ("revive", 0.2)
    assert (spec.probes[0].every, spec.edits.limit, spec.seed) == (2, 9, 4)
    assert (spec.edits.path, spec.editor.settings()) == ("lab", {"layers": [1, 2]})


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("guard", "expected key=value"),
        ("=3", "expected key=value"),
        ("guard..energy=3", "expected key=value"),
        ("guard.energy=[", "--set guard.energy=[, line 1: not valid YAML"),
        ("seed.x=3", "seed is a value and holds no 'x'"),
        ("probes.7.every=3", "probes is a list of 1; use a number from 0 instead of '7'"),
        ("probes.edits.every=3", "instead of 'edits'"),
        ("gaurd.energy=.2", "Did you mean 'guard'?"),
    ],
)
def test_a_wrong_override_is_refused(tmp_path: Path, override: str, expected: str):
    assert expected in refusal(tmp_path, SHORT + "seed: 1\nprobes: [edits]\n", override)


def test_specs_are_frozen():
    spec = parse_spec({"model": "lab", "edits": "lab"})
    assert isinstance(spec, RunSpec)
    with pytest.raises(ValueError):
        spec.seed = 3  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize(
    "text", ["1e6", "1e+06", "1e+06, none (seed 0)", "1e6 edits", "1.5e-3", "e3"]
)
def test_text_that_begins_like_a_number_stays_text(text: str):
    assert parse_yaml(format_yaml({"label": text}), "x") == {"label": text}


@pytest.mark.parametrize(("text", "number"), [("1e-3", 1e-3), ("2E5", 2e5), ("-.5e+2", -50.0)])
def test_numbers_are_read_as_people_write_them(text: str, number: float):
    assert parse_yaml(f"ridge: {text}", "x") == {"ridge": number}
    assert parse_yaml(format_yaml({"ridge": number}), "x") == {"ridge": number}
