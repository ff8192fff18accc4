"""Run folders that were changed from outside: damage is named, never passed over, and got over."""

import json
import logging
import os
import re
import shutil

import pytest
import torch
from e2e_runs import (
    SITES,
    as_older_version,
    cut_after,
    edited_weights,
    equal_tensors,
    journal,
    rewrite_journal,
    same_end,
    update_files,
)
from safetensors.torch import load_file, save_file

from revive.errors import SpecError
from revive.export.run import export_run
from revive.io.lock import locked
from revive.metrics.per_edit import EditTable
from revive.report.reading.load import load_run
from revive.run_folder.edit_table import write_table
from revive.run_folder.journal import Journal
from revive.run_folder.store import RunFolder
from revive.runs.loop import resume
from revive.runs.observers import Observer
from revive.runs.rollback import rollback_edit, rollback_to
from revive.runs.status import run_status
from revive.runs.verify import verify_run

UPDATE, STATE = "updates/000003.safetensors", "checkpoints/000007.safetensors"


def flip(path, place=-20):
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def everything(folder):
    return {
        str(p.relative_to(folder)): p.read_bytes()
        for p in folder.rglob("*")
        if p.is_file() and p.name != ".lock"
    }


def refused(folder, tmp_path, match):
    """Fail unless every command refuses a folder for one reason, and changes nothing."""
    before = everything(folder)
    for command in (
        lambda: export_run(folder, tmp_path / "out", "hf"),
        lambda: resume(folder),
        lambda: rollback_edit(folder, "home-1", measure=False),
        lambda: run_status(folder),
        lambda: load_run(folder),
    ):
        with pytest.raises(SpecError, match=match):
            command()
    assert everything(folder) == before
    assert not (tmp_path / "out").exists()


JOURNALS = {
    "missing": lambda path: path.unlink(),
    "empty": lambda path: path.write_bytes(b""),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "cut to its first line": lambda path: path.write_bytes(path.read_bytes().split(b"\n")[0]),
    "without its last line": lambda path: path.write_bytes(
        b"".join(path.read_bytes().splitlines(keepends=True)[:-1])
    ),
    "cut inside its last line": lambda path: path.write_bytes(path.read_bytes()[:-9]),
}


@pytest.mark.parametrize("how", JOURNALS)
def test_a_journal_that_lost_lines_is_no_new_run(run_folder, tmp_path, how):
    JOURNALS[how](run_folder / "journal.jsonl")
    refused(run_folder, tmp_path, r"journal\.jsonl.*(lines of it were lost|not JSON|no journal)")


@pytest.mark.parametrize("how", ["missing", "empty", "zeros"])
def test_nor_is_one_whose_witness_is_gone_too(run_folder, tmp_path, how):
    JOURNALS[how](run_folder / "journal.jsonl")
    (run_folder / "journal.head").unlink()
    refused(run_folder, tmp_path, "is missing, empty or unreadable, but updates/ has that of batch")


def test_files_that_no_journal_line_explains_are_told(run_folder, tmp_path):
    cut_after(run_folder, "batch", 3)
    kept = (run_folder / UPDATE).read_bytes()
    (run_folder / "updates/000004.safetensors").write_bytes(kept)
    assert run_status(run_folder).step == 3, "a kill leaves one such update"
    (run_folder / "updates/000005.safetensors").write_bytes(kept)
    refused(run_folder, tmp_path, "knows of no batch after 3, but updates/ has that of batch 5")


def test_a_run_that_had_not_begun_is_not_exported(run_folder, tmp_path):
    for path in run_folder.iterdir():
        if path.name not in ("spec.yaml", ".lock"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(SpecError, match="nothing was committed yet"):
        export_run(run_folder, tmp_path / "out", "hf")


def test_what_is_left_of_a_journal_goes_on_when_asked_to(run_folder, calm_run):
    path = run_folder / "journal.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    fourth = next(
        i for i, x in enumerate(lines) if x.startswith(b'{"event": "batch"') and b'"step": 4,' in x
    )
    damaged = b"".join(
        [*lines[:fourth], lines[fourth].replace(b'"made"', b'"mode"'), *lines[fourth + 1 :]]
    )
    path.write_bytes(damaged)
    with pytest.raises(SpecError, match=r"journal\.jsonl, line"):
        rollback_to(run_folder, 4)
    undone = rollback_to(run_folder, 3)
    assert "after batch 3" in undone.note
    assert (run_folder / "journal.damaged.jsonl").read_bytes() == damaged
    resume(run_folder)
    same_end(run_folder, calm_run)
    assert verify_run(run_folder).whole


@pytest.mark.parametrize("what", ["flipped", "cut", "empty", "of another step", "of another run"])
def test_an_update_that_is_not_the_one_that_was_written(run_folder, calm_run, tmp_path, what):
    path = run_folder / UPDATE
    if what == "flipped":
        flip(path)
    elif what == "cut":
        path.write_bytes(path.read_bytes()[:-4])
    elif what == "empty":
        save_file({}, path)
    elif what == "of another step":
        shutil.copy(run_folder / "updates/000004.safetensors", path)
    else:
        stored = load_file(path)
        RunFolder(run_folder).save_update(
            3, {k: v * 2 if v.is_floating_point() else v for k, v in stored.items()}, run="another"
        )
    for path in (run_folder / "checkpoints").iterdir():
        path.unlink()
    before = everything(run_folder)
    with pytest.raises(SpecError, match=r"000003\.safetensors: .*'revive verify RUN' says which"):
        export_run(run_folder, tmp_path / "out", "hf")
    found = verify_run(run_folder)
    assert [f.file for f in found.findings if f.damage] == [UPDATE]
    assert found.rebuildable == (0, 1, 2)
    assert everything(run_folder) == before
    # The good point before it is where the run goes on from.
    rollback_to(run_folder, 2)
    resume(run_folder)
    same_end(run_folder, calm_run)


@pytest.mark.parametrize("what", ["flipped", "cut", "NaN", "of an earlier step", "an update"])
def test_a_damaged_state_is_told_and_its_sums_taken_from_the_updates(
    run_folder, calm_run, caplog, what
):
    path = run_folder / STATE
    if what == "flipped":
        flip(path)
    elif what == "cut":
        path.write_bytes(path.read_bytes()[:-4])
    elif what == "NaN":
        save_file({k: torch.full_like(v, torch.nan) for k, v in load_file(path).items()}, path)
    elif what == "of an earlier step":
        shutil.copy(run_folder / "checkpoints/000006.safetensors", path)
    else:
        shutil.copy(run_folder / "updates/000007.safetensors", path)
    with caplog.at_level(logging.WARNING):
        assert equal_tensors(edited_weights(run_folder), edited_weights(calm_run))
    assert "000007.safetensors" in caplog.text
    assert "its sums are taken from the updates" in caplog.text
    found = verify_run(run_folder)
    assert [f.file for f in found.findings if f.damage] == [STATE]
    assert found.rebuildable == tuple(range(8))


def test_a_state_that_still_holds_a_removed_edit_is_not_believed(run_folder, calm_run):
    rollback_edit(run_folder, "home-3", measure=False)
    without = edited_weights(run_folder)
    assert not equal_tensors(without, edited_weights(calm_run))
    # From a backup, or a power cut that kept the journal's line and not what came after it.
    shutil.copytree(calm_run / "checkpoints", run_folder / "checkpoints", dirs_exist_ok=True)
    assert equal_tensors(edited_weights(run_folder), without)
    told = [f for f in verify_run(run_folder).findings if f.file == STATE]
    assert "does not count" in told[0].what
    resume(run_folder)
    assert equal_tensors(load_file(run_folder / STATE), sums(run_folder))


def sums(folder):
    """The sums of what stands, from the updates alone."""
    kept = folder / "checkpoints"
    aside = kept.rename(folder / "aside")
    weights = edited_weights(folder)
    aside.rename(kept)
    rollback = shutil.copytree(folder, folder.parent / "back")
    rollback_to(rollback, 0)
    before = edited_weights(rollback)
    total = load_file(kept / "000007.safetensors")
    for key in SITES:
        assert torch.equal(before[key] + total[key], weights[key])
    return total


def test_the_line_of_a_rollback_is_there_before_a_file_goes(run_folder, monkeypatch):
    seen = []
    monkeypatch.setattr(
        RunFolder, "drop_checkpoints_from", lambda self, step: seen.append(journal(self.path)[-1])
    )
    rollback_edit(run_folder, "home-3", measure=False)
    assert [e["event"] for e in seen] == ["rollback"]


def test_a_state_without_its_line_does_not_count_and_is_made_again(run_folder, calm_run):
    cut_after(run_folder, "batch", 6)
    for state in (6, 7):
        save_file(
            {k: torch.full((32, 48), 7.0) for k in SITES},
            run_folder / f"checkpoints/{state:06d}.safetensors",
        )
    (run_folder / STATE).unlink()
    resume(run_folder)
    same_end(run_folder, calm_run)
    steps = [e["step"] for e in journal(run_folder) if e["event"] == "checkpoint"]
    assert steps == [2, 4, 6, 7]


LINKED = (
    ".lock",
    "journal.jsonl",
    "journal.head",
    "spec.yaml",
    "updates",
    "checkpoints",
    "measures",
)


@pytest.mark.parametrize("name", [*LINKED, "summary.json", "env.json", UPDATE])
def test_links_inside_a_run_folder_are_not_followed(run_folder, tmp_path, name):
    outside = tmp_path / "outside"
    path = run_folder / name
    path.rename(outside)
    path.symlink_to(outside)
    before = everything(outside) if outside.is_dir() else outside.read_bytes()
    if name == UPDATE:
        with pytest.raises(SpecError, match="is a symbolic link"):
            rollback_edit(run_folder, "home-4", measure=False)
        rollback_to(run_folder, 1)
    else:
        with pytest.raises(SpecError, match=f"{re.escape(name)}: is a symbolic link"):
            rollback_to(run_folder, 1)
        with pytest.raises(SpecError, match="is a symbolic link"):
            resume(run_folder)
    assert before == (everything(outside) if outside.is_dir() else outside.read_bytes())


def test_a_run_folder_may_be_a_link_as_a_whole(run_folder, calm_run, tmp_path):
    (tmp_path / "here").symlink_to(run_folder)
    rollback_to(tmp_path / "here", 3)
    resume(tmp_path / "here")
    assert update_files(run_folder) == update_files(calm_run)


def test_a_copy_by_hard_links_does_not_grow_with_the_run(run_folder, tmp_path):
    backup = tmp_path / "backup"
    shutil.copytree(run_folder, backup, copy_function=os.link)
    before = everything(backup)
    rollback_to(run_folder, 3)
    resume(run_folder)
    assert everything(backup) == before


@pytest.mark.parametrize("how", ["deleted", "replaced"])
def test_a_writer_whose_lock_is_gone_stops(run_folder, calm_run, how):
    cut_after(run_folder, "batch", 3)
    before = everything(run_folder)

    class Meddler(Observer):
        def batch(self, edits):
            (run_folder / ".lock").unlink()
            if how == "replaced":
                (run_folder / ".lock").touch()

    with pytest.raises(SpecError, match="was deleted or replaced while this process held it"):
        resume(run_folder, Meddler())
    lines = Journal.read(run_folder / "journal.jsonl")
    assert (lines[-1]["event"], lines[-1]["step"]) == ("batch", 4)
    assert everything(run_folder).keys() - before.keys() == {
        "updates/000004.safetensors",
        "journal.head",
    }
    resume(run_folder)
    same_end(run_folder, calm_run)


@pytest.mark.parametrize("when", ["editing", "measuring", "asking for answers"])
def test_a_run_folder_that_is_deleted_during_the_run_is_not_partly_made_again(
    run_folder, tmp_path, when
):
    cut_after(run_folder, "batch", 3)

    class Meddler(Observer):
        def phase(self, name, done, total):
            if name.startswith(when):
                shutil.rmtree(run_folder, ignore_errors=True)

    with pytest.raises(SpecError, match=r"was deleted or replaced while this|is missing"):
        resume(run_folder, Meddler())
    assert not run_folder.exists()


def test_nothing_is_written_to_a_run_folder_that_is_gone(run_folder):
    folder = RunFolder.open(run_folder)
    one = {"x": torch.ones(2)}
    writers = {
        "spec": lambda: folder.write_spec(""),
        "env": lambda: folder.write_env({}),
        "summary": lambda: folder.write_summary({}),
        "table": lambda: write_table(folder, EditTable(), 7, []),
        "update": lambda: folder.save_update(8, one),
        "checkpoint": lambda: folder.save_checkpoint(8, one),
    }
    with folder.lock():
        shutil.rmtree(run_folder)
        for name, write in writers.items():
            with pytest.raises(SpecError, match=r"was deleted or replaced while this"):
                write()
            assert not run_folder.exists(), name


def test_a_second_writer_is_noticed_where_no_lock_keeps_it_out(run_folder):
    first = RunFolder.open(run_folder)
    journals = []
    with first.lock():
        journals.append(first.open_journal())
        (run_folder / ".lock").unlink()
        with locked(run_folder / ".lock"):
            second = Journal.open(run_folder / "journal.jsonl")
            second.append("resume", 7)
        (run_folder / ".lock").unlink()
    late = Journal.open(run_folder / "journal.jsonl")
    second.append("resume", 7)
    before = (run_folder / "journal.jsonl").read_bytes()
    for writer in (journals[0], late):
        with pytest.raises(SpecError, match=r"another process has written to it|was deleted"):
            writer.append("resume", 7)
    assert (run_folder / "journal.jsonl").read_bytes() == before


def _swap(events, a, b):
    events[a], events[b] = events[b], events[a]


LINES = {
    "two batches change places": (lambda e, at: _swap(e, at[2], at[3]), "is batch 4 after 2"),
    "a batch is missing": (lambda e, at: e.pop(at[2]), "is of step 3|is batch 4 after 2"),
    "a batch is there twice": (lambda e, at: e.insert(at[2], e[at[2]]), "is batch 3 after 3"),
    "a batch without its edits": (lambda e, at: e[at[2]].pop("edits"), "has no 'edits'"),
    "a batch that made others": (
        lambda e, at: e[at[2]].update(made=["home-99"]),
        "made edits that are not its own",
    ),
    "edits that are no texts": (lambda e, at: e[at[2]].update(edits=[1]), "another type"),
    "a rollback of nothing": (
        lambda e, at: e.append({**e[-1], "event": "rollback"}),
        "has no 'to' and no 'edit'",
    ),
    "a second start": (lambda e, at: e.insert(3, e[0]), "is a second start"),
    "a number that is none": (
        lambda e, at: e[at[2]].update(seconds={"solve": "soon"}),
        "'seconds' of another type",
    ),
}


@pytest.mark.parametrize("what", LINES)
def test_lines_are_checked_for_order_and_fields(run_folder, tmp_path, what):
    """In a journal without checksums, where nothing else would tell."""
    change, told = LINES[what]
    events = journal(run_folder)
    change(events, [i for i, e in enumerate(events) if e["event"] == "batch"])
    rewrite_journal(run_folder, events)
    refused(run_folder, tmp_path, rf"journal\.jsonl, line \d+: .*({told})")


@pytest.mark.parametrize("name", ["summary.json", "edits.json"])
def test_results_that_were_changed_are_told(run_folder, name):
    path = run_folder / name
    text = path.read_text("utf-8")
    path.write_text(text.replace('"edits": 13', '"edits": 12'), "utf-8")
    with pytest.raises(SpecError, match=rf"{name}.*checksum does not fit"):
        load_run(run_folder)
    path.write_text(text, "utf-8")
    rollback_to(run_folder, 6)
    resume(run_folder)
    path.write_text(text, "utf-8")
    if name == "summary.json":
        with pytest.raises(SpecError, match="is of another state of the run than its journal"):
            load_run(run_folder)


def test_a_changed_spec_is_not_exported(run_folder, tmp_path):
    path = run_folder / "spec.yaml"
    path.write_text(path.read_text("utf-8").replace("ridge: 1000.0", "ridge: 10.0"), "utf-8")
    with pytest.raises(SpecError, match=r"editor\.ridge was 1000.0 and is 10.0"):
        export_run(run_folder, tmp_path / "out", "hf")


def test_another_model_is_noticed_without_env_json(run_folder, tiny_folder, tmp_path):
    other = shutil.copytree(tiny_folder, tmp_path / "other")
    stored = load_file(other / "model.safetensors")
    key = next(k for k in stored if k.endswith("o_proj.weight"))
    stored[key][0, 0] += 1
    save_file(stored, other / "model.safetensors", {"format": "pt"})
    (run_folder / "env.json").unlink()
    path = run_folder / "spec.yaml"
    path.write_text(path.read_text("utf-8").replace(str(tiny_folder), str(other)), "utf-8")
    with pytest.raises(SpecError, match="is not the one the run began with"):
        export_run(run_folder, tmp_path / "out", "hf")


def test_what_safetensors_left_of_older_versions_goes(run_folder):
    ours = [run_folder / "updates/.tmpa8XQ21", run_folder / "checkpoints/.tmpA1b2C3"]
    theirs = [run_folder / ".tmpa8XQ21", run_folder / "updates/notes.tmp"]
    for path in (*ours, *theirs):
        path.write_bytes(b"half")
    rollback_to(run_folder, 5)
    assert [p.exists() for p in (*ours, *theirs)] == [False, False, True, True]


def test_a_run_of_a_version_without_checksums_opens_with_a_word(
    run_folder, calm_run, tmp_path, caplog
):
    as_older_version(run_folder)
    with caplog.at_level(logging.WARNING):
        assert equal_tensors(edited_weights(run_folder), edited_weights(calm_run))
    assert "kept no checksums; its files are taken as they are" in caplog.text
    found = verify_run(run_folder)
    assert (found.whole, found.verifiable, found.step) == (True, False, 7)
    assert run_status(run_folder).state == "finished"
    load_run(run_folder)
    # A state that is not the sum of the updates is found even there.
    path = run_folder / STATE
    save_file({k: v * 1.01 for k, v in load_file(path).items()}, path)
    assert [f.what for f in verify_run(run_folder).findings if f.damage] == [
        f"is not the sum of the updates in {SITES[0]}"
    ]
    rollback_to(run_folder, 4)
    resume(run_folder)
    assert equal_tensors(edited_weights(run_folder), edited_weights(calm_run))
    assert json.loads((run_folder / "journal.jsonl").read_text("utf-8").splitlines()[-1])["sum"]


def test_nothing_is_damaged_in_a_run_that_is_whole(calm_run):
    before = everything(calm_run)
    found = verify_run(calm_run)
    assert (found.whole, found.findings, found.step) == (True, (), 7)
    assert found.rebuildable == tuple(range(8))
    assert found.files >= 7 + 2 + 3
    assert everything(calm_run) == before
