"""Specs that no person writes, and numbers that no machine takes: told before any work."""

import pytest
import yaml

from revive.errors import SpecError
from revive.run_folder.store import RunFolder
from revive.spec.parsing import load_spec

ODD = {
    "guard=[1, 2]": "guard.name: expected text, got a number 1",
    "guard=[null]": "guard.name",
    "guard=[revive, 3]": "guard.then.0",
    'edits.path="a\\0b"': "holds a NUL character",
    'moments.text="a\\0b"': "holds a NUL character",
    'model.name="a\\0b"': "holds a NUL character",
    "probes.².every=1": "use a number from 0 instead of '²'",
    "model.dtype=[[a]]": "a list is not one of float32",
    "seed=18446744073709551616": "seed: must be less than or equal to",
    "seed=-1": "seed: must be greater than or equal to 0",
    "edits.seed=18446744073709551616": "edits.seed: must be",
    "guard.seed=18446744073709551616": "guard.seed: must be",
    "threads=100000": "threads: must be less than or equal to 1024",
    "edits.batch_size=100000000000000000000": "edits.batch_size: must be",
    "edits.limit=100000000000000000000": "edits.limit: must be",
    "probes=[{name: edits, age_bins: 10000000}]": "age_bins: must be less than or equal to 1000",
    "editor.context_length=100000": "editor.context_length: must be less than or equal to 1000",
    "editor.context_length=256": "256 tokens leave no room for a prompt; the model takes 256",
    "editor.contexts=10000000": "editor.contexts: must be less than or equal to 1000",
    "editor.steps=99999999999999999999": "editor.steps: must be",
    "moments.window=100000000000": "moments.window: must be",
}


@pytest.mark.parametrize("override", ODD)
def test_it_is_refused_in_a_line(revive, spec, override):
    revive("check", spec(), "--set", override).refused(2, ODD[override])


@pytest.mark.parametrize("place", ["model", "model.dtype", "guard", "label", "nowhere"])
def test_aliases_that_stand_for_each_other_are_stopped(tmp_path, place):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    for n in range(1, 12):
        lines.append(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]")
    tail = {"model.dtype": "model: {name: lab, dtype: *a11}", "model": "model: *a11"}
    path = tmp_path / "bomb.yaml"
    path.write_text("\n".join([*lines, tail.get(place, f"{place}: *a11"), "edits: lab"]), "utf-8")
    with pytest.raises(SpecError, match="more than 100,000 values"):
        load_spec(path)
    path.write_text("model: &m [*m]\nedits: lab\n", "utf-8")
    with pytest.raises(SpecError, match="more than 100,000 values"):
        load_spec(path)


def test_aliases_as_people_use_them_work(tmp_path):
    path = tmp_path / "spec.yaml"
    path.write_text("model: lab\nedits: lab\nguard: &g {name: revive}\n", "utf-8")
    assert load_spec(path).guard.name == "revive"
    assert yaml.safe_load("a: &x [1]\nb: *x") == {"a": [1], "b": [1]}


def test_files_with_other_digits_in_a_run_folder_are_not_ours(tmp_path):
    folder = RunFolder.create(tmp_path / "run")
    for part in ("updates", "checkpoints", "measures"):
        (folder.path / part).mkdir(exist_ok=True)
        (folder.path / part / "²².safetensors").write_bytes(b"")
        (folder.path / part / "²².edits.safetensors").write_bytes(b"")
    assert folder.checkpoints() == []
    folder.drop_after(0)
    assert len(list(folder.path.rglob("²²*"))) == 6
