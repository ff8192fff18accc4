"""A stream that edits facts again: what is measured, undone and resumed, and what it costs."""

import json

import pytest
import torch
from e2e_runs import (
    SITES,
    cut_after,
    edited_weights,
    equal_tensors,
    journal,
    run_here,
    same_end,
    write_edits,
)

import revive.run_folder.journal
from revive.errors import SpecError
from revive.probes.edits import EditsProbe
from revive.runs.loop import resume, start
from revive.runs.observers import Observer
from revive.runs.replay import BatchContents
from revive.runs.rollback import rollback_edit, rollback_to
from revive.runs.status import run_status
from revive.spec.parsing import load_spec, read_model_config, resolve

PROBES = [{"name": "edits"}, {"name": "spectrum", "every": 3}]


def sequence(folder):
    """Six edits of four facts: home-0 is edited three times, home-1 twice."""
    path = write_edits(folder / "edits.jsonl", 4)
    first, second, *others = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    again = [
        {**first, "id": "home-0b", "target_new": "Lima"},
        {**second, "id": "home-1b", "target_new": "Quito"},
        {**first, "id": "home-0c", "target_new": "Cairo"},
    ]
    rows = [first, second, *again[:1], others[0], *again[1:], others[1]]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return {"path": str(path), "batch_size": 2, "on_conflict": "sequence"}


@pytest.fixture
def watched(monkeypatch):
    """Ids that the edits probe was given, at every measurement."""
    seen = []
    measure = EditsProbe.measure

    def listen(self, context):
        seen.append([edit.id for edit in context.edits])
        return measure(self, context)

    monkeypatch.setattr(EditsProbe, "measure", listen)
    return seen


@pytest.fixture
def run(write_spec, tmp_path):
    folder = tmp_path / "run"
    run_here(write_spec(edits=sequence(tmp_path), probes=PROBES), folder)
    return folder


def test_the_latest_edit_of_a_fact_is_measured_and_the_others_are_counted(watched, run):
    made = [e["edits"] for e in journal(run) if e["event"] == "batch"]
    assert made == [["home-0", "home-1"], ["home-0b", "home-2"], ["home-1b", "home-0c"], ["home-3"]]
    assert watched == [
        ["home-2", "home-1b", "home-0c", "home-3"],  # of the unedited model
        ["home-0", "home-1"],
        ["home-1", "home-0b", "home-2"],
        ["home-2", "home-1b", "home-0c"],
        ["home-2", "home-1b", "home-0c", "home-3"],
    ]
    events = [e for e in journal(run) if e["event"] == "measure"]
    assert [e.get("superseded", 0) for e in events] == [0, 0, 1, 3, 3]
    assert [e["edits"] for e in events] == [0, 2, 4, 6, 7]
    ages = events[-1]["retention"]
    assert sum(row["count"] for row in ages) == 4
    assert max(row["age_to"] for row in ages) == 3
    assert [e.get("supersedes") for e in journal(run) if e["event"] == "batch"] == [
        None,
        {"home-0b": "home-0"},
        {"home-1b": "home-1", "home-0c": "home-0b"},
        None,
    ]
    curve = json.loads((run / "summary.json").read_text("utf-8"))["curve"]
    assert [row.get("superseded") for row in curve] == [None, 1, 3, 3]
    assert "superseded" not in run_status(run).metrics


def test_without_the_key_the_same_file_is_refused(write_spec, tmp_path):
    edits = {**sequence(tmp_path), "on_conflict": "error"}
    with pytest.raises(SpecError, match="sequence makes them all"):
        run_here(write_spec(edits=edits), tmp_path / "run")


def test_taking_out_the_latest_makes_the_one_before_stand_again(watched, run):
    undone = rollback_edit(run, "home-0c")
    assert "Edit home-0b of the same fact stands again." in undone.note
    watched.clear()
    resume(run)
    assert watched == [["home-0b", "home-2", "home-1b", "home-3"]]
    assert [e for e in journal(run) if e["event"] == "measure"][-1]["superseded"] == 2
    undone = rollback_edit(run, "home-0b")
    assert "Edit home-0 of the same fact stands again." in undone.note
    resume(run)
    assert watched[-1] == ["home-0", "home-2", "home-1b", "home-3"]


def test_taking_out_a_superseded_one_changes_nothing_that_is_measured(watched, run):
    undone = rollback_edit(run, "home-0b")
    assert "Edit home-0c of the same fact, which had superseded it, stands." in undone.note
    watched.clear()
    resume(run)
    assert watched == [["home-2", "home-1b", "home-0c", "home-3"]]
    assert "same fact" not in rollback_edit(run, "home-3").note


def test_going_back_makes_the_earlier_ones_stand(watched, run, write_spec, tmp_path):
    calm = tmp_path / "calm" / "run"
    run_here(write_spec(edits=sequence(tmp_path), probes=PROBES), calm)
    rollback_to(run, 2)
    assert equal_tensors(edited_weights(run), edited_weights(calm, 2))
    watched.clear()
    resume(run)
    # What was measured at step 2 stands; the steps after it are made and measured again.
    assert watched == [["home-2", "home-1b", "home-0c"], ["home-2", "home-1b", "home-0c", "home-3"]]
    same_end(run, calm)


@pytest.mark.parametrize(("kind", "step"), [("batch", 2), ("measure", 3)])
def test_a_sequence_goes_on_after_a_kill(run, write_spec, tmp_path, kind, step):
    calm = tmp_path / "calm" / "run"
    run_here(write_spec(edits=sequence(tmp_path), probes=PROBES), calm)
    cut_after(run, kind, step)
    resume(run)
    same_end(run, calm)


class Counted(dict):
    """An event of the journal; counts how often any of them is looked into."""

    looks = 0

    def __getitem__(self, key):
        Counted.looks += 1
        return super().__getitem__(key)

    def get(self, key, default=None):
        Counted.looks += 1
        return super().get(key, default)

    def __contains__(self, key):
        Counted.looks += 1
        return super().__contains__(key)


class Costs(Observer):
    """Looks at the journal from one batch to the next."""

    def __init__(self):
        self.looks = []

    def batch(self, edits):
        del edits
        self.looks.append(Counted.looks)


def test_a_batch_reads_as_much_of_the_journal_after_many_as_after_few(
    write_spec, tmp_path, monkeypatch
):
    original = revive.run_folder.journal._event
    monkeypatch.setattr(
        revive.run_folder.journal,
        "_event",
        lambda line: e if isinstance(e := original(line), str) else Counted(e),
    )
    edits = {"path": str(write_edits(tmp_path / "edits.jsonl", 12)), "batch_size": 1}
    spec = load_spec(
        write_spec(
            edits=edits,
            editor={"steps": 2},
            probes=[{"name": "spectrum"}],
            alarm={"metric": "weight_norm_ratio", "above": 1e6},
        )
    )
    costs = Costs()
    start(resolve(spec, read_model_config(spec.model.name)), tmp_path / "run", costs)
    each = [b - a for a, b in zip(costs.looks, costs.looks[1:], strict=False)]
    assert len(each) == 11
    assert each[0] > 0
    # Batches come in pairs: after every other one a checkpoint is written down too.
    assert each[1] == each[-2]
    assert each[2] == each[-1]


def test_going_back_reads_the_journal_once(run, monkeypatch):
    reads = []
    of = BatchContents.of
    monkeypatch.setattr(BatchContents, "of", lambda journal: reads.append(1) or of(journal))
    rollback_to(run, 0)
    assert len(reads) == 1
    weights = edited_weights(run)
    assert all(torch.isfinite(weights[site]).all() for site in SITES)
