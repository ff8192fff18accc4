"""`revive.Editor`: edit, undo, save; what a misuse is told."""

import gc
import tempfile
import warnings
from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
import torch
from e2e_runs import SITES, equal_tensors, logits_elsewhere, logits_here, short_editor, write_edits

import revive
from revive.guards.base import Guard

SETTINGS = {k: v for k, v in short_editor().items() if k != "name"}


@pytest.fixture(scope="module")
def edits(tmp_path_factory):
    path = write_edits(tmp_path_factory.mktemp("edits") / "edits.jsonl", 8)
    return revive.load_edits(str(path)).edits


@pytest.fixture
def editor(tiny_folder, corpus):
    return make(tiny_folder, corpus)


def make(tiny_folder, corpus, **settings):
    ours = {"guard": revive.Revive(energy=0.2), "batch_size": 2, "text": str(corpus), **SETTINGS}
    return revive.Editor.from_pretrained(str(tiny_folder), device="cpu", **{**ours, **settings})


def weights(editor):
    return {k: v.clone() for k, v in editor.model.state_dict().items()}


def test_two_calls_and_undo_to_the_bit(editor, edits):
    untouched = weights(editor)
    assert len(editor.edit(edits[:3])) == 2
    first = weights(editor)
    (second,) = editor.edit(edits[3:5])
    both, tensors = weights(editor), second.tensors()
    assert (editor.steps, len(editor.edits)) == (3, 5)
    editor.rollback(steps=1)
    assert equal_tensors(weights(editor), first)
    assert not equal_tensors(first, both)
    assert (editor.steps, len(editor.edits)) == (2, 3)
    # The history of keys is back where it was, too.
    (again,) = editor.edit(edits[3:5])
    assert equal_tensors(again.tensors(), tensors)
    assert equal_tensors(weights(editor), both)
    editor.rollback(steps=3)
    assert equal_tensors(weights(editor), untouched)
    assert editor.edits == ()


def test_editor_and_results_say_what_they_are_in_a_line(editor, edits):
    assert "memit-seq, guard Revive(" in repr(editor)
    assert "; 0 edits in 0 batches>" in repr(editor)
    results = editor.edit(edits[:3])
    assert "; 3 edits in 2 batches>" in repr(editor)
    assert "<batch of 2 edits, 0 failed; norm asked -> applied: " in repr(results)
    assert "<batch of 1 edit, " in repr(results)
    factors = results[0].updates[SITES[0]]
    assert repr(factors) == "LowRank({} x {}, rank {})".format(*factors.shape, factors.rank)
    # A line, not the numbers of a matrix, nor every expert of a mixture.
    many = replace(results[0], applied=results[0].applied * 100)
    assert ", ...;" in repr(many)
    assert max(len(repr(results)), len(repr(many))) < 1000


def test_a_model_read_from_the_disk_is_saved_without_a_word_of_shards(editor, tmp_path):
    """transformers would warn of 50 GB at a time, which is not how large ours are."""
    editor.model.hf_device_map = {"": "cpu"}
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "Attempting to save a model with offloaded modules")
        editor.save_pretrained(str(tmp_path / "saved"))
        with pytest.raises(UserWarning, match="shard_size"):
            editor.model.save_pretrained(tmp_path / "control")


def test_only_the_edited_sites_change(editor, edits):
    before = weights(editor)
    editor.edit(edits[:2])
    after = weights(editor)
    assert {k for k in before if not torch.equal(before[k], after[k])} == set(SITES)


def test_the_guard_is_at_work(tiny_folder, corpus, edits):
    leaks = {}
    # At an energy above 0, no guard measures what its updates do to the same directions.
    for guard in (revive.Revive(energy=0.2), revive.NoGuard(energy=0.2)):
        results = make(tiny_folder, corpus, guard=guard).edit(edits[:4])
        leaks[guard.name] = [a.leak for r in results for a in r.applied]
    assert len(leaks["revive"]) == 4
    assert max(leaks["revive"]) < 1e-10
    assert min(leaks["none"]) > 1e-3


def test_a_saved_model_needs_nothing_of_ours(editor, edits, tmp_path):
    editor.edit(edits[:4])
    folder = editor.save_pretrained(tmp_path / "saved")
    prompts = [e.text for e in edits[:4]]
    elsewhere = logits_elsewhere(folder, prompts)
    for prompt in prompts:
        assert float((elsewhere[prompt] - logits_here(editor, prompt)).abs().max()) <= 1e-5
    with pytest.raises(revive.SpecError, match="not empty"):
        editor.save_pretrained(folder)


def test_updates_add_up_to_the_change(editor, edits):
    before = weights(editor)
    editor.edit(edits)
    after = weights(editor)
    for site in SITES:
        total = sum(u[site].dense().double() for u in editor.updates())
        change = after[site].double() - before[site].double()
        assert float((total - change).norm()) <= 1e-6 * float(after[site].norm())


def kept_bytes():
    """Bytes of all tensors that this process holds, each storage once."""
    gc.collect()
    storages = {}
    for thing in gc.get_objects():
        if issubclass(type(thing), torch.Tensor):
            storage = thing.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
    return sum(storages.values())


def test_memory_does_not_grow_with_the_number_of_batches(tiny_folder, corpus, edits):
    editor = make(tiny_folder, corpus, method="memit")  # it has no history of keys
    editor.edit(edits[:2])
    before, held = kept_bytes(), []
    for first in (2, 4, 6):
        held += editor.edit(edits[first : first + 2])
    factors = [f for result in held for f in result.updates.values()]
    size = sum(t.untyped_storage().nbytes() for f in factors for t in (f.left, f.right))
    del factors
    assert kept_bytes() - before >= size > 0  # the control: results that are held are seen
    held.clear()
    assert kept_bytes() == before
    assert len(editor.updates()) == editor.steps == 4


def test_a_batch_that_cannot_be_kept_is_not_made(editor, edits, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    editor.edit(edits[:2])
    before = weights(editor)
    (kept,) = tmp_path.glob("revive-editor-*/000000.safetensors")
    # Nothing can be written where a folder is in the way.
    obstacle = kept.with_name("000001.safetensors")
    obstacle.mkdir()
    with pytest.raises(OSError):
        editor.edit(edits[2:4])
    assert equal_tensors(weights(editor), before)
    assert (editor.steps, len(editor.edits), len(editor.updates())) == (1, 2, 1)
    obstacle.rmdir()
    (again,) = editor.edit(edits[2:4])
    assert again.made == (edits[2].id, edits[3].id)


def test_what_was_kept_goes_with_the_editor(tiny_folder, corpus, edits, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    editor = make(tiny_folder, corpus)
    editor.edit(edits[:4])
    (folder,) = tmp_path.glob("revive-editor-*")
    assert len(list(folder.iterdir())) == 2
    editor.rollback()
    assert len(list(folder.iterdir())) == 1
    del editor
    gc.collect()
    assert not folder.exists()


def test_a_guard_of_ones_own_needs_no_registration(tiny_folder, corpus, edits):
    @dataclass(frozen=True, kw_only=True)
    class Mine(Guard):
        name: ClassVar[str] = "mine"
        paper: ClassVar[str] = ""
        summary: ClassVar[str] = "REVIVE under another name"

        def protector(self, weight, key, *, cache=None):
            return revive.Revive(energy=0.2).protector(weight, key, cache=cache)

    mine, ours = make(tiny_folder, corpus, guard=Mine()), make(tiny_folder, corpus)
    for editor in (mine, ours):
        editor.edit(edits[:2])
    assert equal_tensors(weights(mine), weights(ours))


def test_misuse_is_told_what_to_do(editor, edits, tiny_folder, corpus):
    before = weights(editor)
    wrong = revive.Edit(prompt="Rome is in", subject="Paris", target_new="Italy")
    for given, told in (
        (edits[0], "takes a list"),
        ([{"prompt": "Ada lives in", "subject": "Ada", "target_new": "Rome"}], "load_edits"),
        ([wrong], "Paris"),
    ):
        with pytest.raises(revive.SpecError, match=told):
            editor.edit(given)
    with pytest.raises(revive.SpecError, match="0 batches"):
        editor.rollback()
    with pytest.raises(revive.SpecError, match="no edits"):
        editor.evaluate()
    for settings, told in (
        ({"method": "memmit"}, "Did you mean 'memit'"),
        ({"guard": "reviv"}, "Did you mean 'revive'"),
        ({"guard": None}, "'none' means no guard"),
        ({"rigde": 3.0}, "ridge"),
        ({"layers": [0, 7]}, "block 7 does not exist"),
    ):
        with pytest.raises(revive.SpecError, match=told):
            make(tiny_folder, corpus, **settings).edit(edits[:1])
    with pytest.raises(revive.SpecError, match="0 to 1"):
        revive.Revive(energy=1.5)
    assert equal_tensors(weights(editor), before)


@pytest.mark.parametrize(
    ("wanted", "patience", "told"), [(True, 0.0, True), (True, 1e9, False), (False, 0.0, False)]
)
def test_what_takes_long_is_told_on_stderr(
    wanted, patience, told, tiny_folder, corpus, edits, capsys, monkeypatch, tmp_path
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("revive.api._PATIENCE", patience)
    editor = make(tiny_folder, corpus, progress=wanted)
    capsys.readouterr()
    editor.edit(edits[:4])
    out, err = capsys.readouterr()
    assert out == ""
    assert ("edits: 4/4" in err.splitlines()) == told
    assert ("moments: " in err) == told
    assert told or err == ""
