"""Adapters in stock `peft`: switched, put off, merged; at the ranks that vLLM has room for."""

import json

import pytest
import torch
from e2e_runs import SITES
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from revive.export import run as exports
from revive.export import totals as sums
from revive.export.lora import SERVED, served_rank
from revive.export.run import export_run
from revive.export.totals import Total, totals, written_factors
from revive.linalg.lowrank import LowRank
from revive.runs.rebuild import finish_model, rebuild

IDS = torch.tensor([[0, 66, 101, 98, 33, 109, 106, 119, 102, 116]])


def logits(model):
    with torch.no_grad():
        return model(input_ids=IDS).logits


def same(found, wanted, tolerance=1e-4):
    return torch.allclose(found, wanted, rtol=0, atol=tolerance)


@pytest.fixture(scope="module")
def adapters(calm_run, tmp_path_factory):
    """The run after its third batch, and after its last."""
    folder = tmp_path_factory.mktemp("adapters")
    return {
        name: export_run(calm_run, folder / name, "lora", step=step)
        for name, step in (("early", 3), ("late", 7))
    }


def test_one_rank_for_all_that_vllm_has_room_for(adapters):
    for done in adapters.values():
        needed = max(done.ranks.values())
        rank = served_rank(needed)
        assert needed < rank
        config = json.loads((done.path / "adapter_config.json").read_text("utf-8"))
        assert (config["r"], config["lora_alpha"]) == (rank, rank)
        assert not config.get("rank_pattern")
        for name, value in load_file(done.path / "adapter_model.safetensors").items():
            columns = value if name.endswith("lora_A.weight") else value.T
            assert len(columns) == rank
            assert not columns[needed:].any()
            assert columns[:needed].any(1).all()
        assert f"filled up with zeros from {needed}" in done.note
        assert f"--max-lora-rank {rank}" in done.note


def test_ranks_that_vllm_has_room_for():
    assert [served_rank(r) for r in (1, 2, 8, 9, 100, 257, 400, 512)] == [
        *(1, 8, 8, 16, 128, 320, 512, 512)
    ]
    assert served_rank(513) == 513

    def note(rank):
        factors = LowRank(torch.zeros(600, rank), torch.zeros(rank, 600))
        return exports._for_vllm({"a": Total(factors, 0.0)})

    assert note(SERVED[-1]) == "Its rank is 512; vLLM: --enable-lora --max-lora-rank 512."
    assert "these edits need 513" in note(513)
    assert "--rank 512 writes the best" in note(513)


def test_an_adapter_is_switched_put_off_and_merged(adapters, calm_run, tiny_folder):
    base = AutoModelForCausalLM.from_pretrained(tiny_folder, dtype=torch.float32).eval()
    plain = logits(base)
    wanted = {n: logits(finish_model(calm_run, s).model) for n, s in (("early", 3), ("late", 7))}
    assert not same(wanted["early"], wanted["late"], 1e-2)
    assert not same(wanted["early"], plain, 1e-2)
    model = PeftModel.from_pretrained(base, adapters["early"].path, adapter_name="early").eval()
    model.load_adapter(adapters["late"].path, adapter_name="late")
    for name in ("early", "late", "early"):
        model.set_adapter(name)
        assert same(logits(model), wanted[name])
    with model.disable_adapter():
        assert torch.equal(logits(model), plain)
    model.merge_adapter()
    assert same(logits(model), wanted["early"])
    model.unmerge_adapter()
    assert same(logits(model), wanted["early"])
    model.set_adapter("late")
    assert same(logits(model.merge_and_unload()), wanted["late"])


def test_factors_are_decomposed_and_not_the_weight(calm_run, monkeypatch):
    rebuilt = rebuild(calm_run)
    dense = totals(rebuilt.ledger, 3)

    def refuse(*_args, **_options):
        raise AssertionError("a matrix of the weight's size was decomposed")

    monkeypatch.setattr(sums, "top_k_svd", refuse)
    found = totals(rebuilt.ledger, 3, written_factors(calm_run, rebuilt))
    for key in SITES:
        assert found[key].error == pytest.approx(dense[key].error, rel=1e-4)
        assert same(found[key].factors.dense(), dense[key].factors.dense(), 1e-5)
    with pytest.raises(AssertionError, match="decomposed"):
        totals(rebuilt.ledger, 3)
