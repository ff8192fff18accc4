"""Exports in all three forms: what stock `transformers` and `peft` make of them, elsewhere."""

import json
import os
import re
import subprocess
import sys

import pytest
import torch
import yaml
from e2e_runs import SITES, journal, logits_elsewhere, revive, run_here, write_spec_in
from huggingface_hub import ModelCard
from safetensors.torch import load_file
from tiny import byte_tokenizer, tiny_model
from transformers import AutoModelForCausalLM

from revive import Delta, SpecError, load_model
from revive.export.run import export_run
from revive.runs.loop import resume
from revive.runs.rebuild import finish_model, rebuild
from revive.runs.rollback import rollback_edit

PROMPTS = ["Ada lives in", "Zoe lives in", "Nobody saw it"]

ADAPTED = """
import json, sys, torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from peft import PeftModel
base = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.float32)
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
model = PeftModel.from_pretrained(base, sys.argv[2]).eval()
merged = "--merge" in sys.argv
model = model.merge_and_unload() if merged else model
assert "revive" not in sys.modules
torch.set_num_threads(1)
found = {}
for prompt in json.loads(sys.argv[3]):
    ids = tokenizer(prompt, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        found[prompt] = model(input_ids=ids).logits[0].tolist()
json.dump(found, sys.stdout)
"""


def logits(model, tokenizer):
    found = {}
    for prompt in PROMPTS:
        ids = tokenizer(prompt, return_tensors="pt")["input_ids"]
        with torch.no_grad():
            found[prompt] = model(input_ids=ids).logits[0]
    return found


def of_run(folder, to=None):
    loaded = finish_model(folder, to)
    return logits(loaded.model, loaded.tokenizer)


def adapted(base, adapter, *more):
    """Logits of the base with the adapter on, by stock `peft` in a process of its own."""
    command = [sys.executable, "-c", ADAPTED, base, adapter, json.dumps(PROMPTS), *more]
    done = subprocess.run(
        [str(c) for c in command], capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    return {k: torch.tensor(v) for k, v in json.loads(done.stdout).items()}


def close(found, wanted, tolerance=1e-4):
    return all(torch.allclose(found[p], wanted[p], rtol=0, atol=tolerance) for p in PROMPTS)


def test_an_adapter_gives_the_same_logits_in_peft(calm_run, tiny_folder, tmp_path):
    done = export_run(calm_run, tmp_path / "adapter", "lora")
    assert set(done.ranks) == set(SITES)
    assert set(done.errors.values()) == {0.0}
    config = json.loads((done.path / "adapter_config.json").read_text("utf-8"))
    assert config["fan_in_fan_out"] is False
    wanted = of_run(calm_run)
    assert close(adapted(tiny_folder, done.path), wanted)
    assert close(adapted(tiny_folder, done.path, "--merge"), wanted)
    base = load_model(str(tiny_folder), device="cpu")
    assert not close(logits(base.model, base.tokenizer), wanted, 1e-2)


def test_an_adapter_of_gpt2_stores_its_weight_the_other_way_round(tmp_path, corpus):
    """Conv1D. PEFT mends a wrong flag with a warning; ours needs no mending."""
    folder = tmp_path / "gpt2"
    tiny_model("gpt2", inner=32, dtype=torch.float32).save_pretrained(folder)
    byte_tokenizer(bos=True).save_pretrained(folder)
    run_here(write_spec_in(tmp_path, folder, corpus, edits=4), tmp_path / "run")
    done = export_run(tmp_path / "run", tmp_path / "adapter", "lora")
    config = json.loads((done.path / "adapter_config.json").read_text("utf-8"))
    assert config["fan_in_fan_out"] is True
    assert close(adapted(folder, done.path), of_run(tmp_path / "run"))


def test_a_model_with_a_norm_after_its_mlp_leaves_in_every_form(tmp_path, corpus):
    folder = tmp_path / "gemma2"
    tiny_model("gemma2", dtype=torch.float32).save_pretrained(folder)
    byte_tokenizer(bos=True).save_pretrained(folder)
    run_here(write_spec_in(tmp_path, folder, corpus, edits=4), tmp_path / "run")
    wanted = of_run(tmp_path / "run")
    done = {f: export_run(tmp_path / "run", tmp_path / f, f) for f in ("hf", "lora", "delta")}
    options = {"dtype": torch.float32, "attn_implementation": "eager"}
    base = AutoModelForCausalLM.from_pretrained(folder, **options)
    assert not close(logits(base, byte_tokenizer(bos=True)), wanted, 1e-3)
    stock = AutoModelForCausalLM.from_pretrained(done["hf"].path, **options)
    assert close(logits(stock, byte_tokenizer(bos=True)), wanted, 1e-5)
    assert close(adapted(folder, done["lora"].path), wanted)
    loaded = load_model(str(folder), device="cpu")
    Delta.load(done["delta"].path).apply(loaded.model)
    assert close(logits(loaded.model, loaded.tokenizer), wanted)


@pytest.mark.parametrize("form", ["hf", "delta", "lora"])
def test_every_card_says_what_its_files_tell_of_the_edits(calm_run, tmp_path, form):
    done = export_run(calm_run, tmp_path / form, form)
    card = (done.path / "README.md").read_text("utf-8")
    assert "recovers the subjects of edits from their low-rank updates (arXiv 2602.10134)" in card
    assert "13" in card
    assert ("arXiv 2602.10134" in done.note) == (form != "hf")


def test_a_smaller_rank_is_the_best_one_and_says_what_it_leaves_out(calm_run, tmp_path):
    ledger = rebuild(calm_run).ledger
    done = export_run(calm_run, tmp_path / "adapter", "lora", rank=3)
    tensors = load_file(done.path / "adapter_model.safetensors")
    for key in SITES:
        module = key.removesuffix(".weight")
        left, right = (tensors[f"base_model.model.{module}.lora_{x}.weight"] for x in "BA")
        total = ledger.delta(key).double()
        error = (total - left.double() @ right.double()).norm() / total.norm()
        best = torch.linalg.svdvals(total)[3:].norm() / total.norm()
        assert done.ranks[key] == 3
        assert done.errors[key] == pytest.approx(float(best), rel=1e-5)
        assert float(error) == pytest.approx(float(best), rel=1e-4)


def test_a_folder_keeps_what_was_not_edited(calm_run, tiny_folder, tmp_path):
    (tiny_folder / "NOTICE").write_text("as it came", "utf-8")
    done = export_run(calm_run, tmp_path / "edited", "hf")
    assert (done.path / "NOTICE").read_text("utf-8") == "as it came"
    before = load_file(tiny_folder / "model.safetensors")
    after = load_file(done.path / "model.safetensors")
    assert before.keys() == after.keys()
    assert {k for k in before if not torch.equal(before[k], after[k])} == set(SITES)
    for name in ("config.json", "tokenizer.json"):
        assert (done.path / name).read_bytes() == (tiny_folder / name).read_bytes()
    card = (done.path / "README.md").read_text("utf-8")
    assert "13 facts were changed in 7 batches" in card
    assert "| efficacy |" in card
    assert close(logits_elsewhere(done.path, PROMPTS), of_run(calm_run), 1e-5)


def test_only_the_shards_of_edited_weights_are_written(tmp_path, corpus):
    folder = tmp_path / "sharded"
    model = tiny_model("llama", dtype=torch.float32)
    model.save_pretrained(folder, max_shard_size="40KB")
    byte_tokenizer(bos=True).save_pretrained(folder)
    shards = sorted(p.name for p in folder.glob("*.safetensors"))
    assert len(shards) > 3
    run_here(write_spec_in(tmp_path, folder, corpus, edits=2), tmp_path / "run")
    done = export_run(tmp_path / "run", tmp_path / "edited", "hf")
    assert sorted(p.name for p in done.path.glob("*.safetensors")) == shards
    changed = [n for n in shards if (folder / n).read_bytes() != (done.path / n).read_bytes()]
    assert 0 < len(changed) <= 2
    stock = AutoModelForCausalLM.from_pretrained(done.path, dtype=torch.float32)
    assert close(logits(stock, byte_tokenizer(bos=True)), of_run(tmp_path / "run"), 1e-5)


def test_a_base_in_another_dtype_is_rounded_to_with_a_word(tmp_path, corpus):
    folder = tmp_path / "bf16"
    tiny_model("llama", dtype=torch.bfloat16).save_pretrained(folder)
    byte_tokenizer(bos=True).save_pretrained(folder)
    run = {}
    for dtype in ("float32", "bfloat16"):
        (tmp_path / dtype).mkdir()
        model = {"name": str(folder), "device": "cpu", "dtype": dtype}
        spec = write_spec_in(tmp_path / dtype, folder, corpus, edits=2, model=model)
        run_here(spec, tmp_path / dtype / "run")
        run[dtype] = finish_model(tmp_path / dtype / "run").model
        done = export_run(tmp_path / dtype / "run", tmp_path / dtype / "edited", "hf")
        assert "base's own" in done.note
        stock = AutoModelForCausalLM.from_pretrained(done.path)
        assert stock.dtype == torch.bfloat16
        for key in SITES:
            assert torch.equal(stock.get_parameter(key), run[dtype].get_parameter(key).bfloat16())
        rounds = dtype == "float32"  # what is edited in bfloat16 is saved as it is
        assert (done.rounding.share > 0, "times what" in done.note) == (rounds, rounds)
    base = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    edited = [
        (run["float32"].get_parameter(k).detach(), base.get_parameter(k).detach()) for k in SITES
    ]
    lost = sum(float((w - w.bfloat16().float()).square().sum()) for w, _ in edited)
    made = sum(float((w - w0).square().sum()) for w, w0 in edited)
    card = (tmp_path / "float32" / "edited" / "README.md").read_text("utf-8")
    assert f"changed them by {(lost / made) ** 0.5:.2g} times what the edits changed" in card
    loaded = load_model(str(tmp_path / "float32" / "edited"), device="cpu")
    assert f"this model: fingerprint `{loaded.fingerprint}`" in card
    done = export_run(tmp_path / "float32" / "run", tmp_path / "again", "hf", dtype="float16")
    assert AutoModelForCausalLM.from_pretrained(done.path).dtype == torch.float16
    whole = export_run(tmp_path / "float32" / "run", tmp_path / "whole", "hf", dtype="float32")
    assert whole.rounding.share == 0
    stock = AutoModelForCausalLM.from_pretrained(whole.path)
    for key, (weight, _) in zip(SITES, edited, strict=True):
        assert torch.equal(stock.get_parameter(key), weight)


@pytest.mark.parametrize("mask", [0o022, 0o027, 0o077])
def test_files_have_the_modes_that_the_umask_asks_for(calm_run, tmp_path, mask):
    before = os.umask(mask)
    try:
        made = [
            export_run(calm_run, tmp_path / form, form).path for form in ("hf", "delta", "lora")
        ]
    finally:
        os.umask(before)
    for folder in made:
        assert folder.stat().st_mode & 0o777 == 0o777 & ~mask
        for path in folder.iterdir():
            assert path.stat().st_mode & 0o777 == 0o666 & ~mask, path


def test_a_delta_is_put_on_its_base_and_taken_off(calm_run, tiny_folder, tmp_path):
    done = export_run(calm_run, tmp_path / "delta", "delta")
    delta = Delta.load(done.path)
    loaded = load_model(str(tiny_folder), device="cpu")
    before = {k: loaded.model.get_parameter(k).detach().clone() for k in SITES}
    with pytest.raises(SpecError, match="is not the base with this delta on it"):
        delta.remove(loaded.model)
    delta.apply(loaded.model)
    assert close(logits(loaded.model, loaded.tokenizer), of_run(calm_run), 1e-4)
    with pytest.raises(SpecError, match="is not the base that the delta was made from"):
        delta.apply(loaded.model)
    delta.remove(loaded.model)
    for key in SITES:
        torch.testing.assert_close(loaded.model.get_parameter(key), before[key], rtol=0, atol=1e-6)
    other = load_model(str(tiny_folder), device="cpu", dtype="bfloat16")
    with pytest.raises(SpecError, match=r"load the model with dtype='float32'"):
        delta.apply(other.model)
    with pytest.raises(SpecError, match="cannot read"):
        Delta.load(tmp_path / "nowhere")


def test_an_earlier_batch_and_a_run_without_one_edit(calm_run, run_folder, tmp_path):
    done = export_run(calm_run, tmp_path / "early", "delta", step=2)
    assert (done.step, done.edits) == (2, 4)
    delta = Delta.load(done.path)
    total = rebuild(calm_run, 2).ledger
    for key in SITES:
        torch.testing.assert_close(delta.updates[key].dense(), total.delta(key), rtol=0, atol=1e-6)
    rollback_edit(run_folder, "home-3")
    assert export_run(run_folder, tmp_path / "without", "delta").edits == 12
    card = export_run(run_folder, tmp_path / "folder", "hf").path / "README.md"
    assert "12 facts were changed" in card.read_text("utf-8")
    assert "Nothing was measured of the model" in card.read_text("utf-8")
    none = export_run(calm_run, tmp_path / "none", "delta", step=0)
    assert Delta.load(none.path).updates == {}
    with pytest.raises(SpecError, match="no weight was changed"):
        export_run(calm_run, tmp_path / "adapter", "lora", step=0)


def test_the_command(calm_run, tmp_path):
    done = revive("export", calm_run, tmp_path / "a", "--format", "lora", "--rank", "2", "--json")
    told = json.loads(done.stdout)
    assert told["edits"] == 13
    assert all(0 < error < 1 for error in told["errors"].values())
    done = revive("export", calm_run, tmp_path / "b")
    assert done.stdout == ""
    assert "13 edits of 7 batches" in done.stderr


def base_with_papers(tmp_path, dtype):
    """A base with a card, a licence, generation settings and a chat template."""
    folder = tmp_path / "My-Base"
    model = tiny_model("llama", dtype=dtype)
    model.generation_config.max_new_tokens = 17
    model.save_pretrained(folder)
    tokenizer = byte_tokenizer(bos=True)
    tokenizer.chat_template = "{{ messages }}!"
    tokenizer.save_pretrained(folder)
    head = "license: other\nlicense_name: own\nlanguage: [en, de]\nlibrary_name: keras"
    (folder / "README.md").write_text(f"---\n{head}\n---\nA base.\n", "utf-8")
    (folder / "LICENSE.txt").write_text("Do no harm.", "utf-8")
    return folder


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_card_says_what_was_done_and_the_rest_comes_along(tmp_path, corpus, dtype):
    """Also where the weights are written anew, as from a base in bfloat16."""
    folder = base_with_papers(tmp_path, dtype)
    probes = [{"name": "edits"}, {"name": "perplexity", "text": str(corpus), "characters": 300}]
    spec = write_spec_in(tmp_path, folder, corpus, edits=3, probes=probes)
    run_here(spec, tmp_path / "run")
    done = export_run(tmp_path / "run", tmp_path / "edited", "hf")
    text = (done.path / "README.md").read_text("utf-8")
    card = ModelCard(text)
    head = card.data.to_dict()
    assert head["base_model"] == "My-Base"
    assert head["base_model_relation"] == "finetune"
    assert head["library_name"] == "transformers"
    assert (head["license"], head["license_name"]) == ("other", "own")
    assert head["language"] == ["en", "de"]
    assert str(tmp_path) not in text
    assert "3 facts were changed in 2 batches" in text
    final = json.loads((tmp_path / "run" / "summary.json").read_text("utf-8"))["final"]
    for name in ("efficacy", "perplexity_corpus"):
        assert re.search(rf"\| {name} \| \S+ \| {final[name]:.4g} \|", text)
    recipe = yaml.safe_load(text.partition("```yaml")[2].partition("```")[0])
    assert recipe["editor"]["ridge"] == 1000.0
    assert recipe["guard"]["name"] == "revive"
    assert recipe["moments"]["text"] == ["corpus.txt"]
    edited, base = (load_model(str(p), device="cpu") for p in (done.path, folder))
    assert edited.fingerprint != base.fingerprint
    assert f"base: `My-Base`, fingerprint `{base.fingerprint}`" in text
    assert f"this model: fingerprint `{edited.fingerprint}`" in text
    assert (done.path / "LICENSE.txt").read_text("utf-8") == "Do no harm."
    assert edited.model.generation_config.max_new_tokens == 17
    assert edited.tokenizer.chat_template == "{{ messages }}!"


def test_a_card_has_the_numbers_of_its_own_batch(run_folder, tmp_path):
    """Measured after batches 3, 6 and 7; a removed edit makes what was measured before it void."""

    def card(name, step=None):
        return (
            export_run(run_folder, tmp_path / name, "hf", step=step).path / "README.md"
        ).read_text("utf-8")

    at_three = [e for e in journal(run_folder) if e["event"] == "measure" and e["step"] == 3][-1]
    ratio = at_three["metrics"]["weight_norm_ratio"]
    assert f"| {ratio:.4g} |" in card("three", 3)
    assert "Nothing was measured" not in card("seven")
    assert "efficacy |" not in card("two", 2)
    rollback_edit(run_folder, "home-8", measure=False)
    assert "Nothing was measured of the model" in card("seven-without")
    assert f"| {ratio:.4g} |" in card("three-again", 3)
    resume(run_folder)
    assert "Nothing was measured" not in card("measured-again")
    assert "12 facts were changed in 7 batches" in card("counted")
    assert "1 were taken out again" in card("told")
