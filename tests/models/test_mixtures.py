"""Mixtures of experts: sites, weighted keys, moments and the ledger, in every such family."""

import pytest
import torch
from tiny import EXPERTS, MIXTURES, VOCABULARY, byte_tokenizer, tiny_model

from revive.data.edits import Edit
from revive.editors.key_sweep import KeySweep
from revive.editors.target_solver.tokenized_edit import encode_edit
from revive.errors import NumericalError, SpecError
from revive.linalg.lowrank import LowRank
from revive.models.family import family_of, read_weight, write_weight
from revive.models.forward.activation_hooks import routed_inputs_of
from revive.models.forward.runner import BlockRunner
from revive.models.ledger import Ledger
from revive.moments.input_moments import collect_moments

NAMES = sorted(MIXTURES)
TEXTS = ["The ship left the harbour.", "Nobody saw it.", "It was cold, and dark."]


def tokens(rows=3, length=9):
    return torch.randint(0, VOCABULARY, (rows, length), generator=torch.Generator().manual_seed(1))


def experts_of(model, layer=1):
    return family_of(model).sites(model, layers=[layer])


@pytest.mark.parametrize("name", NAMES)
def test_every_routed_expert_is_a_site(name):
    model = tiny_model(name)
    sites = family_of(model).sites(model)
    dense = {0} if name == "qwen3_moe" else set()
    for layer in range(3):
        here = [s for s in sites if s.layer == layer]
        if layer in dense:
            assert [s.key for s in here] == [f"model.layers.{layer}.mlp.down_proj.weight"]
            assert family_of(model).site(model, layer) == here[0]
            continue
        start = f"model.layers.{layer}.mlp.experts.down_proj"
        assert [s.key for s in here] == [f"{start}[{e}]" for e in range(EXPERTS)]
        assert all(s.shape == (32, 48) for s in here)
        with pytest.raises(SpecError, match="4 experts"):
            family_of(model).site(model, layer)


@pytest.mark.parametrize("inner", [48, 32], ids=["wide", "square"])
@pytest.mark.parametrize("name", NAMES)
def test_orientation_reproduces_one_expert(name, inner):
    model = tiny_model(name, inner=inner)
    site = experts_of(model)[2]
    module = model.get_submodule(site.module)
    weight = read_weight(model, site)
    assert tuple(weight.shape) == site.shape == (32, inner)
    x = torch.randn(5, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    alone = (x, torch.full((5, 1), 2), torch.ones(5, 1, dtype=torch.float64))
    hidden = family_of(model).experts.hidden(module, x, 2)
    torch.testing.assert_close(module(*alone), hidden @ weight.T, rtol=1e-12, atol=1e-12)
    if inner == 32:
        # Negative control: on a square weight the transposed reading runs, and is wrong.
        assert not torch.allclose(module(*alone), hidden @ weight)


@pytest.mark.parametrize("name", NAMES)
def test_writing_one_expert_leaves_the_others(name):
    model = tiny_model(name, dtype=torch.bfloat16)
    site = experts_of(model)[1]
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    write_weight(model, site, read_weight(model, site) + 1.0)
    for n, p in model.named_parameters():
        if n != site.parameter:
            assert torch.equal(p, before[n])
    now, then = model.get_parameter(site.parameter), before[site.parameter]
    assert [bool((a != b).any()) for a, b in zip(now, then, strict=True)] == [0, 1, 0, 0]


@pytest.mark.parametrize("name", NAMES)
def test_weighted_keys_make_up_the_modules_output(name):
    """sum_e W_e k_e = what the experts' module gives; without the router's weights it is not."""
    model = tiny_model(name)
    runner, sites, ids = BlockRunner(model, family_of(model)), experts_of(model), tokens()
    module, outputs, weights = model.get_submodule(sites[0].module), [], []
    module.register_forward_pre_hook(lambda _, args: weights.append(args))
    module.register_forward_hook(lambda _m, _a, output: outputs.append(output))
    with torch.no_grad(), routed_inputs_of(runner, sites) as seen:
        runner.embed_through(ids, torch.ones_like(ids), 1)
    made, unweighted = torch.zeros(2, *ids.shape, 32, dtype=torch.float64)
    chosen, gates = weights[0][1], weights[0][2].double()
    for site in sites:
        routed = seen[site.key]
        at = (routed.rows, routed.positions)
        part = routed.keys @ read_weight(model, site).T
        made.index_put_(at, part, accumulate=True)
        token, place = (chosen == site.expert).nonzero(as_tuple=True)
        unweighted.index_put_(at, part / gates[token, place, None], accumulate=True)
    expected = outputs[0].reshape(made.shape)
    assert sum(len(seen[s.key].rows) for s in sites) == 2 * ids.numel()
    torch.testing.assert_close(made, expected, rtol=1e-10, atol=1e-12)
    assert not torch.allclose(unweighted, expected, rtol=1e-2)


@pytest.mark.parametrize("name", NAMES)
def test_the_sweeps_keys_are_the_average_of_whole_sparse_keys(name):
    """Half the plain prompt's, half the contexts' mean, zero where a row is sent elsewhere."""
    model, tokenizer = tiny_model(name), byte_tokenizer()
    runner, sites = BlockRunner(model, family_of(model)), experts_of(model)
    edits = [Edit(f"{s} lives in", s, "Rome") for s in ("Ada", "Boris Godunov")]
    rows = [encode_edit(tokenizer, e, ("It rains", "Yes")) for e in edits]
    found = KeySweep(runner, rows, 1).keys_of(sites)
    stacked = torch.zeros(EXPERTS, 48, 2, dtype=torch.float64)
    for edit, one in enumerate(rows):
        for index, row in enumerate(one.rewrite):
            ids = torch.tensor([row.input_ids])
            with torch.no_grad(), routed_inputs_of(runner, sites) as seen:
                runner.embed_through(ids, torch.ones_like(ids), 1)
            for site in sites:
                routed = seen[site.key]
                here = routed.keys[routed.positions == row.lookup]
                share = 0.5 if index == 0 else 0.5 / (len(one.rewrite) - 1)
                stacked[site.expert, :, edit] += share * here.sum(dim=0)
    for site in sites:
        expected = stacked[site.expert]
        assert (site.key in found) == bool(expected.any())
        if site.key in found:
            torch.testing.assert_close(found[site.key], expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_moments_are_over_all_tokens_routed_or_not(name):
    model, tokenizer = tiny_model(name), byte_tokenizer()
    runner, sites = (
        BlockRunner(model, family_of(model)),
        family_of(model).sites(model, layers=[0, 1]),
    )
    moments = collect_moments(runner, tokenizer, sites, TEXTS, tokens_per_batch=40)
    count = sum(len(tokenizer(t)["input_ids"]) for t in TEXTS)
    for site in (s for s in sites if s.expert is not None):
        total = torch.zeros(48, 48, dtype=torch.float64)
        for text in TEXTS:
            ids = torch.tensor([tokenizer(text)["input_ids"]])
            with torch.no_grad(), routed_inputs_of(runner, [site]) as seen:
                runner.embed_through(ids, torch.ones_like(ids), site.layer)
            total += seen[site.key].keys.T @ seen[site.key].keys
        moment = moments[site.key]
        assert moment.count == count
        torch.testing.assert_close(moment.value(), total / count, rtol=1e-5, atol=1e-12)


def update(seed, scale=0.1):
    g = torch.Generator().manual_seed(seed)
    return LowRank(torch.randn(32, 2, generator=g) * scale, torch.randn(2, 48, generator=g) * scale)


def test_the_ledger_holds_experts_that_were_written_and_no_others():
    model = tiny_model("mixtral", dtype=torch.bfloat16)
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    ledger = Ledger(model, family_of(model).sites(model))
    keys = list(ledger.sites)
    assert ledger.used == ()
    assert ledger.state_dict() == {}
    first = ledger.original(keys[1])
    ledger.commit(keys[1], update(0))
    ledger.commit(keys[5], update(1))
    assert ledger.used == (keys[1], keys[5])
    assert torch.equal(ledger.original(keys[1]), first)
    assert not bool(ledger.delta(keys[0]).any())
    state = {k: v.clone() for k, v in ledger.state_dict().items()}
    written = {n: p.detach().clone() for n, p in model.named_parameters()}
    again = Ledger(tiny_model("mixtral", dtype=torch.bfloat16), ledger.sites.values())
    again.commit(keys[7], update(2))
    again.load_state_dict(state)
    assert all(torch.equal(p, written[n]) for n, p in again.model.named_parameters())
    assert again.state_dict().keys() == state.keys()
    ledger.reset()
    assert all(torch.equal(p, before[n]) for n, p in model.named_parameters())


def test_a_trial_that_is_undone_leaves_no_trace_in_the_state():
    model = tiny_model("mixtral", dtype=torch.float32)
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    ledger = Ledger(model, family_of(model).sites(model))
    key = next(iter(ledger.sites))
    with ledger.transaction():
        ledger.commit(key, update(0))
        with ledger.pristine():
            assert torch.equal(
                model.get_parameter(ledger.sites[key].parameter),
                before[ledger.sites[key].parameter],
            )
        ledger.rewind()
    assert ledger.state_dict() == {}
    assert all(torch.equal(p, before[n]) for n, p in model.named_parameters())


def test_nan_in_an_expert_is_refused():
    model = tiny_model("mixtral", dtype=torch.float32)
    sites = family_of(model).sites(model)
    model.get_parameter(sites[0].parameter).data[3, 0, 0] = float("nan")
    with pytest.raises(NumericalError, match="NaN"):
        Ledger(model, sites)
