"""What else moves when one edit is taken out, and what later measurements count."""

import json
import shutil

import pytest
from e2e_runs import journal, revive, run_here, write_spec_in

from revive.errors import SpecError
from revive.probes.edits import score_edits
from revive.probes.retention_snapshot import RetentionSnapshot, retention_change, retention_snapshot
from revive.runs.loop import resume
from revive.runs.rebuild import finish_model
from revive.runs.rollback import rollback_edit
from revive.runs.status import run_status
from revive.spec.edit_stream import read_edits
from revive.spec.parsing import load_spec

STRONG = {"ridge": 0.01, "clamp": 100.0, "lr": 0.5}


@pytest.fixture(scope="module")
def strong_run(tmp_path_factory, tiny_folder, corpus):
    """Six edits in three batches; general ability is measured. Not to be changed."""
    folder = tmp_path_factory.mktemp("strong")
    probes = [{"name": "edits"}, {"name": "perplexity", "text": str(corpus), "characters": 400}]
    spec = write_spec_in(folder, tiny_folder, corpus, edits=6, probes=probes, editor=STRONG)
    run_here(spec, folder / "run")
    return folder / "run"


@pytest.fixture
def strong(strong_run, tmp_path):
    return shutil.copytree(strong_run, tmp_path / "strong")


def by_hand(folder):
    """How every edit of a run stands with the model that the folder gives now."""
    loaded = finish_model(folder)
    return retention_snapshot(
        loaded.model, loaded.tokenizer, read_edits(load_spec(folder / "spec.yaml")).edits
    )


def part(whole, *ids):
    places = [whole.ids.index(i) for i in ids]
    return RetentionSnapshot(ids, *(tuple(c[p] for p in places) for c in (whole.nll, whole.holds)))


def test_what_moved_is_what_a_measurement_by_hand_finds(strong, corpus):
    before = by_hand(strong)
    moved = rollback_edit(strong, "home-2").moved
    after = by_hand(strong)
    groups = {
        "removed": ["home-2"],
        "batch": ["home-3"],
        "others": ["home-0", "home-1", "home-4", "home-5"],
    }
    for name, ids in groups.items():
        found = getattr(moved, name)
        wanted = retention_change(part(before, *ids), part(after, *ids))
        assert (found.edits, found.before, found.after) == (len(ids), wanted.before, wanted.after)
        assert set(found.lost) == set(wanted.lost)
        assert set(found.regained) == set(wanted.regained)
        assert found.nll_shift == pytest.approx(wanted.nll_shift, rel=1e-3, abs=1e-5)
    # Negative control: the groups do differ, so that a mix-up would show.
    shifts = [getattr(moved, name).nll_shift for name in groups]
    assert len({round(s, 3) for s in shifts}) == 3
    (metric,) = moved.general
    assert metric == "perplexity_corpus"
    was, now = moved.general[metric]
    last = next(e for e in journal(strong)[::-1] if e["event"] == "measure")
    assert was == last["metrics"][metric]
    assert now != was
    event = journal(strong)[-1]
    assert event["moved"] == json.loads(json.dumps(moved.as_dict()))


def test_the_old_answer_comes_back_to_the_lab_model(tmp_path):
    whole = {
        "model": "lab",
        "edits": {"path": "lab", "limit": 1},
        "editor": {"name": "memit-seq", "contexts": 0},
        "moments": {"samples": 50},
        "guard": "none",
        "probes": [],
        "threads": 1,
    }
    (tmp_path / "spec.yaml").write_text(json.dumps(whole), "utf-8")
    run_here(tmp_path / "spec.yaml", tmp_path / "run")
    (edit,) = read_edits(load_spec(tmp_path / "run" / "spec.yaml")).edits
    moved = rollback_edit(tmp_path / "run", edit.id).moved
    assert moved.answers.before == edit.target_new
    assert moved.answers.after == moved.answers.unedited == edit.target_true
    assert moved.answers.returned
    assert (moved.removed.before, moved.removed.after) == (1, 0)
    assert moved.removed.lost == (edit.id,)
    assert moved.general == {}


def test_without_measuring_neither_model_nor_edits_are_needed(write_spec, tiny_folder, tmp_path):
    own = shutil.copytree(tiny_folder, tmp_path / "own")
    run_here(write_spec(edits=4, model={"name": str(own), "device": "cpu"}), tmp_path / "run")
    before = (tmp_path / "run" / "journal.jsonl").read_bytes()
    (tmp_path / "edits.jsonl").write_text('{"prompt":"A is","subject":"A","target_new":"B"}\n')
    with pytest.raises(SpecError, match=r"edit file has changed.*Nothing was taken out"):
        rollback_edit(tmp_path / "run", "home-1")
    shutil.rmtree(own)
    with pytest.raises(Exception, match=r"Nothing was taken out; --no-measure"):
        rollback_edit(tmp_path / "run", "home-1")
    assert (tmp_path / "run" / "journal.jsonl").read_bytes() == before
    undone = rollback_edit(tmp_path / "run", "home-1", measure=False)
    assert undone.moved is None
    assert "moved" not in journal(tmp_path / "run")[-1]


def test_a_later_measurement_leaves_the_removed_edit_out(strong):
    rollback_edit(strong, "home-3", measure=False)
    assert run_status(strong).removed == 1
    summary = resume(strong)
    assert summary["removed"] == 1
    loaded = finish_model(strong)
    edits = read_edits(load_spec(strong / "spec.yaml")).edits
    remaining = [e for e in edits if e.id != "home-3"]
    wanted = score_edits(loaded.model, loaded.tokenizer, remaining).metrics()
    with_it = score_edits(loaded.model, loaded.tokenizer, edits).metrics()
    last = next(e for e in journal(strong)[::-1] if e["event"] == "measure")
    assert last["sample"] == 5
    assert sum(row["count"] for row in last["retention"]) == 5
    assert {k: last["metrics"][k] for k in wanted} == pytest.approx(wanted)
    assert wanted != with_it
    assert summary["final"]["efficacy"] == last["metrics"]["efficacy"]


def test_a_second_edit_is_measured_without_the_first(strong):
    rollback_edit(strong, "home-3", measure=False)
    moved = rollback_edit(strong, "home-2").moved
    assert moved.batch.edits == 0
    assert moved.others.edits == 4
    assert moved.batch.nll_shift != moved.batch.nll_shift
    assert journal(strong)[-1]["moved"]["batch"]["nll_shift"] == "NaN"


def test_the_command_says_it(strong):
    done = revive("rollback", strong, "--edit", "home-2", "--sample", "2", "--json")
    told = json.loads(done.stdout)
    assert told["moved"]["removed"]["edits"] == 1
    assert told["moved"]["others"]["edits"] == 2
    done = revive("rollback", strong, "--edit", "home-5")
    assert "its batch" in done.stdout
    assert "perplexity" in done.stdout
    assert "home-5: said" in done.stdout
    assert "measuring" in done.stderr
