"""Models, runner and ledger give on a GPU what they give on a CPU."""

import warnings

import pytest
import torch
from pairs import relative, rows, runner

from revive.editors.key_sweep import KeySweep
from revive.editors.target_solver.targets import TargetSettings, solve_targets
from revive.errors import NumericalError
from revive.linalg.lowrank import LowRank
from revive.linalg.svd import top_k_svd
from revive.models.family import read_weight
from revive.models.forward.activation_hooks import inputs_of
from revive.models.forward.runner import positions_of
from revive.models.ledger import Ledger

MODELS = pytest.mark.parametrize("name", ["gpt2", "llama", "gpt_neox", "opt"])
SETTINGS = TargetSettings(
    layer=1, steps=8, lr=0.05, weight_decay=0.3, kl_factor=0.0625, clamp=1.5, stop_loss=0.0
)


@MODELS
def test_weights_keep_their_orientation(name):
    run = runner(name, "cuda")
    site = run.family.site(run.model, 1)
    ids = torch.tensor([[5, 6, 7, 8]], device="cuda")
    with inputs_of(run, [site]) as seen, torch.no_grad():
        output = []
        handle = run.model.get_submodule(site.module).register_forward_hook(
            lambda module, args, out: output.append(out)
        )
        run.embed_through(ids, torch.ones_like(ids), 2)
        handle.remove()
    weight = read_weight(run.model, site)
    bias = run.model.get_submodule(site.module).bias
    expected = seen[site.parameter].flatten(0, -2) @ weight.T + (0 if bias is None else bias)
    assert weight.device.type == "cuda"
    assert relative(output[0].flatten(0, -2), expected) <= 1e-12


@MODELS
def test_slices_of_a_forward(name):
    ids = torch.tensor([[5, 6, 7, 8], [9, 10, 0, 0]])
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])
    found = []
    for device in ("cpu", "cuda"):
        run = runner(name, device)
        there = mask.to(device)
        with torch.no_grad():
            hidden = run.embed_through(ids.to(device), there, 0)
            out = run.run(hidden, 1, run.depth, there, positions_of(there))
        found.append(run.family.logits(run.model, out)[0])
    assert relative(found[1], found[0]) <= 1e-10


@MODELS
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-6), (torch.float32, 1e-3)], ids=["fp64", "fp32"]
)
def test_targets(name, dtype, tolerance):
    there, here = (
        solve_targets(runner(name, device, dtype), rows(), SETTINGS) for device in ("cuda", "cpu")
    )
    assert relative(there.z, here.z) <= tolerance
    assert there.evaluations.tolist() == here.evaluations.tolist()
    other = solve_targets(runner(name, "cpu", dtype), rows()[::-1], SETTINGS)
    assert relative(there.z, other.z) > 10 * tolerance, "negative control: other edits"


def test_steps_do_not_wait_for_the_device():
    run = runner("llama", "cuda", torch.float32)
    solve_targets(run, rows(), SETTINGS)  # whatever is set up once may wait
    waited = []
    for steps in (4, 12):
        settings = TargetSettings(**{**SETTINGS.__dict__, "steps": steps, "look_every": 100})
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
            try:
                solve_targets(run, rows(), settings)
            finally:
                torch.cuda.set_sync_debug_mode("default")
        waited.append(sum("synchroniz" in str(w.message) for w in seen))
    assert waited[0] > 0, "waiting is noticed at all"
    assert waited[1] == waited[0]


@MODELS
def test_keys(name):
    found = []
    for device in ("cuda", "cpu"):
        run = runner(name, device)
        sites = run.family.sites(run.model, layers=[0, 1])
        sweep = KeySweep(run, rows(), 0)
        found.append([sweep.keys(s) for s in sites] + [sweep.outputs(1)])
    for there, here in zip(*found, strict=True):
        assert relative(there, here) <= 1e-10


def commit_twice(ledger, key, update):
    """A sound update, then one that is refused."""
    ledger.commit(key, update)
    ledger.commit(key, update.scaled(float("nan")))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_the_ledger_writes_and_rewinds(name, dtype):
    weights = []
    for device in ("cuda", "cpu"):
        run = runner(name, device, dtype)
        site = run.family.site(run.model, 1)
        before = run.model.get_parameter(site.parameter).clone()
        ledger = Ledger(run.model, [site])
        generator = torch.Generator().manual_seed(0)
        left = torch.randn(site.shape[0], 3, generator=generator).to(device)
        right = torch.randn(3, site.shape[1], generator=generator).to(device)
        with pytest.raises(NumericalError), ledger.transaction():
            commit_twice(ledger, site.parameter, LowRank(left, right))
        assert torch.equal(run.model.get_parameter(site.parameter), before)
        written = ledger.commit(site.parameter, LowRank(left, right))
        assert written.applied > 0
        assert ledger.delta(site.parameter).dtype == torch.float32
        weights.append(ledger.weight(site.parameter))
        parameter = read_weight(run.model, site)
        assert torch.equal(parameter, weights[-1].to(dtype).float())
        ledger.reset()
        assert torch.equal(run.model.get_parameter(site.parameter), before)
    assert relative(*weights) <= 1e-6


def test_singular_subspaces_are_compared_by_their_projectors():
    weight = torch.randn(60, 90, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    there, here = (top_k_svd(weight.to(device), 8) for device in ("cuda", "cpu"))
    assert relative(there.u @ there.u.T, here.u @ here.u.T) <= 1e-9
    assert relative(there.v @ there.v.T, here.v @ here.v.T) <= 1e-9
    assert relative(there.s, here.s) <= 1e-12
