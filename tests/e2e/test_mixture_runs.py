"""Whole runs on mixtures of experts: resumed, taken back, exported."""

import json
import shutil

import pytest
import torch
from e2e_runs import (
    batches,
    cut_after,
    equal_tensors,
    run_here,
    same_end,
    short_editor,
    update_files,
    write_spec_in,
)
from peft import PeftModel
from test_export import close, logits, of_run
from tiny import byte_tokenizer, tiny_model
from transformers import AutoModelForCausalLM

from revive import Delta, Editor, load_edits, load_model
from revive.export.run import export_run
from revive.report.reading.load import load_run
from revive.runs.loop import resume
from revive.runs.rebuild import finish_model, rebuild
from revive.runs.rollback import rollback_edit, rollback_to

FAMILIES = ("mixtral", "qwen3_moe")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Tiny mixtures: all blocks sparse, and one whose first block is an ordinary MLP."""
    made = {}
    for name in FAMILIES:
        made[name] = tmp_path_factory.mktemp("model") / name
        tiny_model(name, dtype=torch.float32).save_pretrained(made[name])
        byte_tokenizer(bos=True).save_pretrained(made[name])
    return made


@pytest.fixture(scope="module")
def calm(folders, corpus, tmp_path_factory):
    """A run of seven edits in four batches that nothing disturbed, for each."""
    made = {}
    for name in FAMILIES:
        folder = tmp_path_factory.mktemp(name)
        made[name] = folder / "run"
        run_here(write_spec_in(folder, folders[name], corpus, edits=7), made[name])
    return made


@pytest.fixture(params=FAMILIES)
def name(request):
    return request.param


@pytest.mark.parametrize("step", [1, 3])
def test_a_resumed_run_is_the_undisturbed_one(name, calm, tmp_path, step):
    folder = shutil.copytree(calm[name], tmp_path / "run")
    cut_after(folder, "batch", step)
    resume(folder)
    same_end(folder, calm[name])


def test_the_journal_and_the_report_tell_of_the_experts(name, calm):
    sites = {key for event in batches(calm[name]) for key in event["sites"]}
    mixed = {key for key in sites if key.endswith("]")}
    assert len(mixed) > 2
    assert ("model.layers.0.mlp.down_proj.weight" in sites) == (name == "qwen3_moe")
    told = {account.site for account in load_run(calm[name]).sites}
    assert "model.layers.1.mlp.experts.down_proj[...]" in told
    assert len(told) == 2
    final = json.loads((calm[name] / "summary.json").read_text("utf-8"))["final"]
    assert 0 < final["subspace_overlap"] <= 1
    assert final["weight_norm_ratio"] > 1


def test_taking_batches_and_edits_back(name, calm, tmp_path):
    folder = shutil.copytree(calm[name], tmp_path / "run")
    whole = rebuild(folder).ledger.state_dict()
    undone = rollback_edit(folder, "home-2")
    assert undone.norm > 0
    less = rebuild(folder).ledger.state_dict()
    assert not equal_tensors(whole, less)
    rollback_to(folder, 0)
    assert all(not bool(t.any()) for t in rebuild(folder).ledger.state_dict().values())
    resume(folder)
    assert update_files(folder) == update_files(calm[name])


def stock(folder):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def test_every_export_gives_the_runs_logits(name, calm, folders, tmp_path):
    wanted = of_run(calm[name])
    base = load_model(str(folders[name]), device="cpu")
    assert not close(logits(base.model, base.tokenizer), wanted, 1e-2)
    whole = export_run(calm[name], tmp_path / "hf", "hf")
    assert close(logits(stock(whole.path), base.tokenizer), wanted)
    before = {n: p.clone() for n, p in base.model.named_parameters()}
    delta = Delta.load(export_run(calm[name], tmp_path / "delta", "delta").path)
    delta.apply(base.model)
    assert close(logits(base.model, base.tokenizer), wanted)
    delta.remove(base.model)
    for n, p in base.model.named_parameters():
        torch.testing.assert_close(p, before[n], rtol=0, atol=1e-5)
    adapter = export_run(calm[name], tmp_path / "lora", "lora")
    adapted = PeftModel.from_pretrained(stock(folders[name]), adapter.path).eval()
    assert close(logits(adapted, base.tokenizer), wanted)
    assert close(logits(adapted.merge_and_unload(), base.tokenizer), wanted)


def test_fine_tuning_resumes_too(folders, corpus, tmp_path):
    editor = {"name": "ft", "layers": [0, 1], "lr": 1e-3, "steps": 3}
    spec = write_spec_in(tmp_path, folders["mixtral"], corpus, edits=4, whole_editor=editor)
    run_here(spec, tmp_path / "run")
    folder = shutil.copytree(tmp_path / "run", tmp_path / "cut" / "run")
    cut_after(folder, "batch", 1)
    resume(folder)
    same_end(folder, tmp_path / "run")


def test_calibration_leaves_no_trace(folders, corpus, tmp_path):
    """Experts that only a trial of lambda wrote to are not in what a run keeps."""
    spec = write_spec_in(
        tmp_path, folders["mixtral"], corpus, edits=2, editor={"ridge": None, "contexts": 0}
    )
    run_here(spec, tmp_path / "run")
    written = {key for event in batches(tmp_path / "run") for key in event["sites"]}
    folder = shutil.copytree(tmp_path / "run", tmp_path / "cut" / "run")
    cut_after(folder, "measure", 0)
    resume(folder)
    same_end(folder, tmp_path / "run")
    assert set(rebuild(folder).ledger.state_dict()) == written


def test_the_python_form_edits_and_rolls_back(folders, tmp_path, corpus):
    settings = {k: v for k, v in short_editor().items() if k != "name"}
    editor = Editor.from_pretrained(
        str(folders["mixtral"]), device="cpu", text=str(corpus), batch_size=2, **settings
    )
    before = {n: p.clone() for n, p in editor.model.named_parameters()}
    write_spec_in(tmp_path, folders["mixtral"], corpus, edits=4)
    results = editor.edit(load_edits(tmp_path / "edits.jsonl").edits)
    assert all(a.leak < 1e-9 for r in results for a in r.applied)
    editor.rollback(steps=2)
    assert all(torch.equal(p, before[n]) for n, p in editor.model.named_parameters())


def test_finished_models_are_read_back(calm, name):
    ledger = rebuild(calm[name]).ledger
    model = finish_model(calm[name]).model
    for key in ledger.used:
        site = ledger.sites[key]
        stored = model.get_parameter(site.parameter)
        stored = stored if site.expert is None else stored[site.expert]
        assert torch.equal(stored, ledger.weight(key))
