"""Edits that no longer answer are made again: in the run, after a kill, after a rollback."""

import shutil

import pytest
import torch
import yaml
from e2e_runs import (
    SITES,
    batches,
    cut_after,
    edited_weights,
    journal,
    metrics,
    run_here,
    same_end,
    write_spec_in,
)
from safetensors.torch import load_file

from revive.data.edits import Edit
from revive.data.stream import Stream
from revive.errors import SpecError
from revive.runs.loop import resume
from revive.runs.repair import looked_at, most
from revive.runs.rollback import rollback_edit, rollback_to
from revive.spec.parsing import load_spec
from revive.spec.schema import RepairSpec

REPAIR = {"every": 1, "sample": 4, "share": 0.5, "rounds": 2}
STRONG = {"steps": 40, "lr": 0.5, "ridge": 1.0, "clamp": 40.0}


def run(folder, tiny_folder, corpus, **parts):
    spec = write_spec_in(folder, tiny_folder, corpus, edits=7, editor=STRONG, **parts)
    run_here(spec, folder / "run")
    return folder / "run"


@pytest.fixture(scope="module")
def repaired(tmp_path_factory, tiny_folder, corpus):
    """A run of seven edits in batches of two, with repairs. Not to be changed."""
    return run(tmp_path_factory.mktemp("repaired"), tiny_folder, corpus, repair=REPAIR)


def again(folder):
    return [line.get("repairs", {}).get("edits", []) for line in batches(folder)]


def test_what_does_not_answer_is_made_again(repaired, tmp_path, tiny_folder, corpus):
    plain = run(tmp_path, tiny_folder, corpus)
    assert len(batches(plain)) == 4
    assert all("repairs" not in line for line in batches(plain))
    made = again(repaired)
    assert made[0] == []
    assert any(made[1:4])
    assert all(len(ids) <= 1 for ids in made[:4])  # half of a batch of two
    assert len(made) <= 4 + 2
    assert all(0 < len(ids) <= 2 for ids in made[4:])
    for line, ids in zip(batches(repaired), made, strict=True):
        assert line["made"] == [*line["edits"], *ids]
        earlier = {i for other in batches(repaired)[: line["step"] - 1] for i in other["edits"]}
        assert set(ids) <= earlier
    assert metrics(repaired)["repaired"] == sum(map(len, made)) > 0
    assert metrics(repaired)["edits"] == 7
    assert "repaired" not in metrics(plain)


def test_repaired_edits_answer_more_often(tmp_path):
    """On a model that can be edited: the lab, so weakly that a good part does not take at once."""
    exact: dict[bool, float] = {}
    for again in (False, True):
        folder = tmp_path / f"{again}"
        folder.mkdir()
        spec = {
            "model": "lab",
            "edits": {"path": "lab", "limit": 16, "batch_size": 8},
            "editor": {"name": "memit-seq", "ridge": 20000.0},
            "guard": "none",
            "probes": [{"name": "edits", "every": 9}],
            "threads": 1,
            **({"repair": {"share": 0.5}} if again else {}),
        }
        (folder / "spec.yaml").write_text(yaml.safe_dump(spec), "utf-8")
        run_here(folder / "spec.yaml", folder / "run")
        exact[again] = metrics(folder / "run")["final"]["efficacy_exact"]
    assert exact[False] < 0.9
    assert exact[True] > exact[False]


@pytest.mark.parametrize("step", [1, 3, 4])
def test_a_run_that_is_cut_short_repairs_the_same(repaired, tmp_path, step):
    folder = shutil.copytree(repaired, tmp_path / "run")
    cut_after(folder, "batch", step)
    resume(folder)
    same_end(folder, repaired)
    assert again(folder) == again(repaired)


def test_batches_that_are_rolled_back_are_repaired_alike(repaired, tmp_path):
    folder = shutil.copytree(repaired, tmp_path / "run")
    undone = rollback_to(folder, 3)
    assert set(undone.removed) == {"home-6"}  # a repair that is undone takes no edit out
    resume(folder)
    assert again(folder) == again(repaired)
    for key in SITES:
        assert torch.equal(edited_weights(folder)[key], edited_weights(repaired)[key])


def test_taking_an_edit_out_takes_its_repairs_out(repaired, tmp_path):
    folder = shutil.copytree(repaired, tmp_path / "run")
    edit = next(i for ids in again(repaired) for i in ids)
    steps = [e["step"] for e in batches(folder) if edit in e["made"]]
    assert len(steps) > 1
    whole = edited_weights(folder)
    gone = {key: torch.zeros_like(whole[key]) for key in SITES}
    for step in steps:
        line = batches(folder)[step - 1]
        place = line["made"].index(edit)
        stored = load_file(folder / f"updates/{step:06d}.safetensors")
        for key in SITES:
            columns = stored[f"owner|{key}"] == place
            gone[key] += stored[f"left|{key}"][:, columns] @ stored[f"right|{key}"][columns]
    rollback_edit(folder, edit, measure=False)
    assert journal(folder)[-1]["repairs"] == steps[1:]
    for key in SITES:
        torch.testing.assert_close(
            edited_weights(folder)[key], whole[key] - gone[key], rtol=0, atol=1e-5
        )
        assert float(gone[key].norm()) > 0
    with pytest.raises(SpecError, match="taken out before"):
        rollback_edit(folder, edit, measure=False)
    # Nor is it made again when the run goes on.
    rollback_to(folder, 3)
    resume(folder)
    assert all(edit not in ids for ids in again(folder)[3:])


def edit(number, fact=None):
    return Edit(
        id=f"e{number}",
        prompt="{} is",
        subject=f"S{number if fact is None else fact}",
        target_new="x",
    )


def test_what_a_later_edit_replaces_is_not_looked_at():
    stream = Stream([edit(0), edit(1), edit(2, fact=0), edit(3), edit(4, fact=3)], "file", 0, 2)
    ids = lambda step, **more: [e.id for e in looked_at(RepairSpec(**more), stream, step, ())]  # noqa: E731
    assert ids(1) == []
    assert ids(2) == ["e1"]  # e2 comes with this batch, and replaces e0
    assert ids(3) == ["e2", "e1"]  # e4 comes; the batch before first
    assert ids(4) == ["e1", "e2", "e4"]  # after the last: all that stand
    assert ids(5) == []
    assert ids(5, rounds=2) == ["e1", "e2", "e4"]
    assert ids(2, every=2) == []
    assert looked_at(RepairSpec(), stream, 3, {"e1"}) == (stream.edits[2],)


def test_the_window_moves_over_all_that_stand():
    stream = Stream([edit(n) for n in range(40)], "file", 0, 4)
    repair = RepairSpec(sample=5)
    seen = [looked_at(repair, stream, step, ()) for step in range(2, 11)]
    assert all(len(found) <= 4 + 5 for found in seen)
    assert {e.id for found in seen for e in found} >= {f"e{n}" for n in range(32)}
    assert most(repair, 4, alone=False) == 1
    assert most(repair, 4, alone=True) == 4


@pytest.mark.parametrize(
    ("key", "value"), [("share", 0), ("share", 1.5), ("every", 0), ("rounds", -1), ("of", 1)]
)
def test_repairs_that_make_no_sense_are_refused(write_spec, key, value):
    with pytest.raises(SpecError, match=f"repair.{key}"):
        load_spec(write_spec(repair={key: value}))


def test_a_repair_that_is_turned_on_after_a_kill_is_refused(tmp_path, tiny_folder, corpus):
    folder = run(tmp_path, tiny_folder, corpus)
    cut_after(folder, "batch", 2)
    spec = folder / "spec.yaml"
    was = spec.read_text("utf-8")
    now = "\n".join(line for line in was.splitlines() if not line.startswith("repair:"))
    spec.write_text(now + "\nrepair: {every: 1}\n", "utf-8")
    with pytest.raises(SpecError, match="repair was null"):
        resume(folder)
    spec.write_text(was, "utf-8")
    resume(folder)
