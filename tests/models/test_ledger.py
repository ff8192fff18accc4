"""The ledger: one writer, one rounding, transactions, exact rewinds."""

import pytest
import torch
from tiny import tiny_model

from revive.errors import NumericalError, SpecError
from revive.linalg.basis import SpectralBasis
from revive.linalg.lowrank import LowRank
from revive.models.family import family_of
from revive.models.ledger import Ledger


def update(seed, rank=2, scale=0.1, dtype=torch.float32):
    g = torch.Generator().manual_seed(seed)
    return LowRank(
        torch.randn(32, rank, generator=g).to(dtype) * scale,
        torch.randn(rank, 48, generator=g).to(dtype) * scale,
    )


def ledger_of(name="llama", dtype=torch.float32):
    model = tiny_model(name, dtype=dtype)
    return model, Ledger(model, family_of(model).sites(model))


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_a_commit_changes_the_weight_by_the_update(name):
    model, ledger = ledger_of(name)
    key = next(iter(ledger.sites))
    u = update(0)
    written = ledger.commit(key, u)
    stored = model.get_parameter(key)
    stored = stored.T if ledger.sites[key].transposed else stored
    torch.testing.assert_close(stored, ledger.original(key) + u.dense())
    assert written.applied == pytest.approx(u.fro(), rel=1e-4)
    assert written.rounding < 1e-4


def test_an_exception_undoes_the_whole_batch_bit_for_bit():
    model, ledger = ledger_of()
    first, second, _ = ledger.sites
    ledger.commit(first, update(0))
    before = {n: p.clone() for n, p in model.named_parameters()}

    def broken_batch():
        with ledger.transaction():
            ledger.commit(first, update(1))
            ledger.commit(second, update(2))
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        broken_batch()
    assert all(torch.equal(p, before[n]) for n, p in model.named_parameters())


def test_reset_restores_w0_bit_for_bit():
    model, ledger = ledger_of(dtype=torch.bfloat16)
    before = {n: p.clone() for n, p in model.named_parameters()}
    for seed in range(20):
        for key in ledger.sites:
            ledger.commit(key, update(seed))
    assert not all(torch.equal(p, before[n]) for n, p in model.named_parameters())
    ledger.reset()
    assert all(torch.equal(p, before[n]) for n, p in model.named_parameters())


def test_nan_is_refused_and_nothing_written():
    model, ledger = ledger_of()
    key = next(iter(ledger.sites))
    before = model.get_parameter(key).clone()
    bad = update(0)
    bad.left[0, 0] = float("nan")
    with pytest.raises(NumericalError, match=key):
        ledger.commit(key, bad)
    assert torch.equal(model.get_parameter(key), before)


def test_nan_in_a_weight_is_refused():
    model = tiny_model("llama", dtype=torch.float32)
    site = family_of(model).site(model, 1)
    model.get_parameter(site.parameter).data[0, 0] = float("nan")
    with pytest.raises(NumericalError, match=site.parameter):
        Ledger(model, [site])


def test_the_fp32_ledger_leaks_less_than_adding_in_place_to_bf16():
    """The reason for the ledger, with the in-place way as its control."""
    model, ledger = ledger_of(dtype=torch.bfloat16)
    key = next(iter(ledger.sites))
    basis = SpectralBasis.fit(ledger.original(key), energy=0.3)
    naive = model.get_parameter(key).detach().clone()
    start = naive.float().clone()
    for seed in range(200):
        u = update(seed, scale=0.02)
        left = u.left - basis.u.float() @ (basis.u.float().T @ u.left)
        right = u.right - (u.right @ basis.v.float()) @ basis.v.float().T
        guarded = LowRank(left, right)
        ledger.commit(key, guarded, basis)
        naive = naive + guarded.dense().to(naive.dtype)

    def leak(change):
        u, v = basis.u.float(), basis.v.float()
        rest = change - u @ (u.T @ change)
        rest = rest - (rest @ v) @ v.T
        return 1 - float(rest.norm() / change.norm()) ** 2

    kept = leak(model.get_parameter(key).detach().float() - start)
    assert kept < leak(naive.float() - start)
    assert leak(ledger.delta(key)) < 1e-6


def test_leak_sees_an_unguarded_update():
    _, ledger = ledger_of()
    key = next(iter(ledger.sites))
    basis = SpectralBasis.fit(ledger.original(key), energy=0.3)
    assert ledger.commit(key, update(0), basis).leak > 0.05


def test_unknown_sites_are_named():
    _, ledger = ledger_of()
    with pytest.raises(SpecError, match="holds"):
        ledger.delta("nowhere")
