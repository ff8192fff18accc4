"""A model whose blocks come and go answers, solves and is edited like one that is in memory."""

import pytest
import torch
from tiny import byte_tokenizer, tiny_model

from revive import Edit, Editor, PrerequisiteError, SpecError, load_model
from revive.cli.model_options import model_settings
from revive.doctor.checks import examine
from revive.editors.key_sweep import KeySweep
from revive.editors.target_solver.targets import TargetSettings, solve_targets
from revive.editors.target_solver.tokenized_edit import encode_edit
from revive.linalg.lowrank import LowRank
from revive.models.family import family_of
from revive.models.fingerprint import model_fingerprint
from revive.models.forward import recompute, runner
from revive.models.forward.runner import BlockRunner, positions_of
from revive.models.ledger import Ledger
from revive.models.placement import entry_device, named_values

MAPS = {
    "llama": {
        "model.embed_tokens": "cpu",
        "model.layers.0": "disk",
        "model.layers.1": "cpu",
        "model.layers.2": "disk",
        "model.norm": "cpu",
        "model.rotary_emb": "cpu",
        "lm_head": "disk",
    },
    "gpt2": {
        "transformer.wte": "cpu",
        "transformer.wpe": "disk",
        "transformer.h.0": "disk",
        "transformer.h.1": "disk",
        "transformer.h.2": "disk",
        "transformer.ln_f": "cpu",
        "lm_head": "cpu",
    },
}
EDITS = (
    Edit("{} is in", "Rome", "France"),
    Edit("Where the old {} lives is", "Danielle", "Thai"),
    Edit("{}", "Al", "x"),
)
EDITED = [0, 1]
SETTINGS = TargetSettings(
    layer=1, steps=4, lr=0.05, weight_decay=0.3, kl_factor=0.0625, clamp=1.5, stop_loss=0.0
)


@pytest.fixture(scope="module", params=MAPS)
def pair(request, tmp_path_factory):
    """The same model in memory and partly on the disk."""
    folder = str(tmp_path_factory.mktemp("model") / request.param)
    tiny_model(request.param, dtype=torch.float32).save_pretrained(folder)
    byte_tokenizer(bos=True).save_pretrained(folder)
    away = load_model(folder, device_map=MAPS[request.param], edited=EDITED)
    return load_model(folder, device="cpu"), away


def rows(loaded):
    return [encode_edit(loaded.tokenizer, edit, ("So it was",)) for edit in EDITS]


def runner_of(loaded):
    return BlockRunner(loaded.model, loaded.family)


def both(pair, made):
    return [made(loaded) for loaded in pair]


def test_only_what_is_edited_is_there(pair):
    _, away = pair
    model = away.model
    sites = {s.parameter for s in away.family.sites(model, layers=EDITED)}
    there = {n for n, p in model.named_parameters() if p.device.type != "meta"}
    first = {n for n, _ in model.named_parameters() if ".0." in n}
    assert sites <= there
    assert first - there, "the rest of a block on the disk stays there"
    assert entry_device(model) == torch.device("cpu")


def test_the_fingerprint_does_not_depend_on_the_place(pair):
    here, away = pair
    # What is kept of the folder would tell nothing.
    assert model_fingerprint(here.model) == model_fingerprint(away.model) == away.fingerprint
    values = dict(named_values(away.model))
    assert all(torch.equal(p, values[n]) for n, p in here.model.named_parameters())


def test_logits_and_slices_are_the_same(pair):
    ids = torch.tensor([[5, 6, 7, 8, 9], [3, 4, 5, 0, 0]])
    mask = torch.tensor([[1] * 5, [1, 1, 1, 0, 0]])

    @torch.no_grad()
    def answers(loaded):
        run = runner_of(loaded)
        hidden, positions = run.embed_through(ids, mask, 0), positions_of(mask)
        out = run.run(hidden, 1, run.depth, mask, positions)
        seen = run.capture(hidden, 1, run.depth, mask, positions)
        return [loaded.model(input_ids=ids, attention_mask=mask).logits, out, *seen.keys[1:]]

    for here, away in zip(*both(pair, answers), strict=True):
        assert torch.equal(here, away)


def test_keys_and_targets_are_the_same(pair):
    def keys(loaded):
        sweep = KeySweep(runner_of(loaded), rows(loaded), 0)
        site = loaded.family.site(loaded.model, 1)
        return sweep.keys(site), sweep.outputs(1)

    def targets(loaded):
        return solve_targets(runner_of(loaded), rows(loaded), SETTINGS)

    # Weights on the disk are read once, for rows whole; else what rows share is run once.
    for here, away in zip(*both(pair, keys), strict=True):
        assert torch.allclose(here, away, rtol=0, atol=1e-6)
    here, away = both(pair, targets)
    assert float((here.z - here.z0).norm()) > 0.1, "the targets must have moved"
    assert torch.allclose(here.z, away.z, rtol=0, atol=1e-5)


def test_a_block_that_is_computed_again_must_not_see_its_own_keys(pair, monkeypatch):
    """The control of the recomputation: without rewinding the cache, targets are others."""
    here, away = pair
    right = solve_targets(runner_of(here), rows(here), SETTINGS)
    monkeypatch.setattr(recompute, "_rewinding", lambda given, layer: lambda: None)
    try:
        wrong = solve_targets(runner_of(away), rows(away), SETTINGS)
    except RuntimeError:
        return  # a shape that does not fit any more
    assert not torch.allclose(right.z, wrong.z, rtol=0, atol=1e-3)


def test_no_weight_is_kept_for_the_backward_pass(pair, monkeypatch):
    _, away = pair
    model, run = away.model, runner_of(away)
    last = away.family.blocks_of(model)[2]
    shapes = {tuple(p.shape) for p in last.parameters() if p.ndim == 2}
    shapes |= {shape[::-1] for shape in shapes}
    mask = torch.ones(1, 7, dtype=torch.long)

    def kept():
        seen = []
        hidden = torch.randn(1, 7, 32, requires_grad=True)
        with torch.autograd.graph.saved_tensors_hooks(lambda t: seen.append(t) or t, lambda t: t):
            out = run.run(hidden, 2, 3, mask, positions_of(mask))
        (gradient,) = torch.autograd.grad(out.square().sum(), hidden)
        return {tuple(t.shape) for t in seen} & shapes, gradient

    found, gradient = kept()
    assert not found
    assert all(p.device.type == "meta" for p in last.parameters())
    monkeypatch.setattr(runner, "is_offloaded", lambda block: False)
    control, _ = kept()
    assert control
    assert bool(gradient.isfinite().all())


def test_a_guarded_batch_writes_the_same(pair, tmp_path):
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("".join(f"{i} ships left at dawn.\n" for i in range(30)), "utf-8")
    short = {"layers": EDITED, "ridge": 100.0, "steps": 4, "lr": 0.1, "weight_decay": 0.0}
    short |= {"kl_factor": 0.0625, "clamp": 4.0, "contexts": 1, "context_length": 3}

    def written(loaded):
        editor = Editor(loaded, text=[str(corpus)], batch_size=2, **short)
        results = editor.edit(EDITS)
        sites = [s.parameter for s in loaded.family.sites(loaded.model, layers=EDITED)]
        weights = {key: loaded.model.get_parameter(key).detach().clone() for key in sites}
        leaks = [a.leak for r in results for a in r.applied]
        editor.rollback(steps=2)
        return weights, leaks

    (here, _), (away, leaks) = both(pair, written)
    for key, weight in here.items():
        assert torch.allclose(weight, away[key], rtol=0, atol=1e-5)
        assert not torch.equal(weight, pair[0].model.get_parameter(key))
    assert max(leaks) < 1e-6


def test_the_doctor_finds_nothing_wrong(pair):
    _, away = pair
    assert not [f for f in examine(away, EDITED) if f.verdict == "failed"]


def test_a_block_that_was_on_the_disk_is_brought_in_by_the_ledger(pair):
    here, away = pair
    site = away.family.site(away.model, 2)
    ledger = Ledger(away.model, [site])
    w0 = here.model.get_parameter(site.parameter)
    assert torch.equal(ledger.original(site.parameter), w0.T if site.transposed else w0)
    update = LowRank(torch.ones(32, 1), torch.ones(1, site.shape[1]))
    ids = torch.tensor([[5, 6, 7]])
    with torch.no_grad():
        before = away.model(ids).logits
        ledger.commit(site.parameter, update)
        assert not torch.equal(away.model(ids).logits, before)
        ledger.reset()
        assert torch.equal(away.model(ids).logits, before)


def test_a_weight_without_a_value_is_refused():
    model = tiny_model("llama", dtype=torch.float32)
    site = family_of(model).site(model, 1)
    model.model.layers[1].to("meta")
    with pytest.raises(SpecError, match=r"layers\.1\.mlp\.down_proj\.weight.*model\.device_map"):
        Ledger(model, [site])


def test_options_are_checked_before_a_model_is_loaded():
    chosen = model_settings("lab", "float32", "auto", "{'': disk, lm_head: 0}", None)
    assert chosen == {"name": "lab", "device_map": {"": "disk", "lm_head": "cuda:0"}}
    assert model_settings("lab", "bfloat16", "cpu", None, "4bit") == {
        **{"name": "lab", "dtype": "bfloat16", "device": "cpu", "quantize": "4bit"}
    }
    for given, told in (
        (("float32", "auto", "atuo", None), "auto, balanced"),
        (("float32", "auto", "{lm_head: here}", None), r"model\.device_map\.lm_head"),
        (("float32", "cpu", "auto", None), "exclude each other"),
        (("float32", "auto", None, "3bit"), "8bit, 4bit"),
        (("float64", "auto", None, "8bit"), "not computed in float64"),
    ):
        with pytest.raises(SpecError, match=told):
            model_settings("lab", *given)
    if not torch.cuda.is_available():
        with pytest.raises(PrerequisiteError, match="CUDA is not available"):
            load_model("lab", device_map={"": "cuda:1"})
