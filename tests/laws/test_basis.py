"""Singular triplets, protected ranks, overlaps, tails, fingerprints, and the cache."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from law_matrices import LAW, cases, healthy, matrix, orthogonal, randn

from revive.errors import NumericalError, SpecError
from revive.linalg.basis import SpectralBasis
from revive.linalg.cache import BasisCache
from revive.linalg.energy import rank_for_energy
from revive.linalg.fingerprint import fingerprint
from revive.linalg.norm import operator_norm
from revive.linalg.subspace import (
    principal_angles,
    projector_overlap,
    random_subspace,
    subspace_iteration,
)
from revive.linalg.svd import top_k_svd


def projector(columns):
    return columns @ columns.T


@LAW
@given(cases())
def test_gram_and_full_agree_on_projectors(case):
    fast = top_k_svd(case.weight, energy=case.energy)
    full = top_k_svd(case.weight, energy=case.energy, method="full")
    assert fast.rank == full.rank
    torch.testing.assert_close(projector(fast.u), projector(full.u), rtol=0, atol=1e-7)
    torch.testing.assert_close(projector(fast.v), projector(full.v), rtol=0, atol=1e-7)
    scale = float(full.s[0])
    torch.testing.assert_close(fast.s, full.s, rtol=0, atol=1e-7 * max(scale, 1e-30))
    for side in (fast.u, fast.v):
        gram = side.T @ side
        torch.testing.assert_close(gram, torch.eye(len(gram)).double(), rtol=0, atol=1e-12)
    assert fast.residual <= 1e-10


def test_gram_is_used_where_it_is_good_and_left_where_it_is_not():
    good = randn(40, 60)
    assert top_k_svd(good, 5).method == "gram"
    steep = matrix(20, 30, [10.0 ** (-i) for i in range(20)])
    assert top_k_svd(steep, 3).method == "gram"
    assert top_k_svd(steep, 10).method == "full"
    forced = top_k_svd(steep, 15, method="gram")
    assert forced.residual > 1e-10  # what the fallback is for


def test_a_broken_weight_is_refused_with_advice():
    weight = randn(4, 5)
    weight[1, 2] = float("nan")
    with pytest.raises(NumericalError, match="reload the checkpoint"):
        SpectralBasis.fit(weight, energy=0.1)


def test_fit_takes_energy_or_rank():
    with pytest.raises(ValueError, match="not both"):
        SpectralBasis.fit(randn(3, 3), energy=0.1, rank=1)
    with pytest.raises(ValueError, match="triplets"):
        SpectralBasis.fit(randn(3, 4), rank=4)
    with pytest.raises(SpecError, match="share"):
        SpectralBasis.fit(randn(3, 3), energy=1.5)


@LAW
@given(st.lists(st.floats(1e-3, 10.0), min_size=1, max_size=30), st.floats(0.001, 0.999))
def test_the_protected_rank_is_the_smallest_that_reaches_the_energy(values, energy):
    s = torch.tensor(sorted(values, reverse=True), dtype=torch.float64)
    k = rank_for_energy(s, energy, (30, 30))
    share = s.cumsum(0) / s.sum()
    assert float(share[k - 1]) >= energy - 1e-9
    extended = k >= 2 and float(s[k - 2] - s[k - 1]) <= 1e-9 * float(s[0])
    if k >= 2 and not extended:
        assert float(share[k - 2]) < energy


@pytest.mark.parametrize("n", [3, 7, 10, 49, 1000])
def test_rounding_adds_no_direction(n):
    s = torch.linspace(2.0, 1.0, n, dtype=torch.float64)
    share = s.cumsum(0) / s.sum()
    for k in range(1, n):
        assert rank_for_energy(s, float(share[k - 1]), (n, n)) == k


@pytest.mark.parametrize(
    ("energy", "expected"), [(0.0, 0), (0.1, 2), (0.4, 2), (0.7, 3), (0.99, 4), (1.0, 4)]
)
def test_edges_of_the_energy(energy, expected):
    s = torch.tensor([3.0, 3.0, 2.0, 1.0, 0.0, 0.0], dtype=torch.float64)
    assert rank_for_energy(s, energy, (6, 6)) == expected


@LAW
@given(cases(energies=(0.1, 0.3, 0.9)), st.integers(0, 3))
def test_the_tail_ratio_is_exact(case, updates):
    basis = SpectralBasis.fit(case.weight, energy=case.energy)
    weight = case.weight.clone()
    for number in range(updates):
        weight += case.update(number=number).dense()
    if basis.rank == 0:
        assert basis.tail_ratio(weight) == 0.0
        return
    dense = basis.project_out(weight)
    expected = float(torch.linalg.matrix_norm(dense, ord=2)) / float(basis.s[basis.rank - 1])
    assert basis.tail_ratio(weight) == pytest.approx(expected, rel=1e-7, abs=1e-9)


@pytest.mark.parametrize("shape", [(120, 300), (300, 120), (200, 200)])
def test_the_operator_norm_is_exact_on_flat_spectra(shape):
    w = randn(*shape, seed=3)
    found = operator_norm(lambda x: w @ x, lambda y: w.T @ y, randn(shape[1], seed=9))
    assert found == pytest.approx(float(torch.linalg.matrix_norm(w, ord=2)), rel=1e-9)


def test_the_fingerprint_is_of_values_shape_and_dtype():
    x = randn(4, 6)
    assert fingerprint(x) == fingerprint(x.clone()) == fingerprint(x.T.contiguous().T)
    changed = x.clone()
    changed[0, 0] = torch.nextafter(changed[0, 0], torch.tensor(9.0, dtype=torch.float64))
    others = [changed, x.reshape(6, 4), x.float(), x.bfloat16()]
    assert len({fingerprint(o) for o in (x, *others)}) == 5


def test_the_cache_returns_what_it_stored(tmp_path, monkeypatch):
    case = healthy()
    cache = BasisCache(tmp_path / "bases")
    first = cache.fit(case.weight, energy=0.3)
    monkeypatch.setattr(SpectralBasis, "fit", None)  # a second SVD would fail
    second = cache.fit(case.weight, energy=0.3)
    assert torch.equal(first.u, second.u)
    assert torch.equal(first.s, second.s)
    assert torch.equal(first.v, second.v)
    assert (first.rank, first.residual) == (second.rank, second.residual)
    assert first.fingerprint == second.fingerprint
    assert [p.suffix for p in (tmp_path / "bases").iterdir()] == [".safetensors"]


@pytest.mark.parametrize("damage", ["truncated", "flipped", "swapped", "empty"])
def test_a_damaged_cache_file_is_computed_anew(tmp_path, monkeypatch, damage):
    case = healthy()
    cache = BasisCache(tmp_path)
    good = cache.fit(case.weight, energy=0.3)
    path = next(tmp_path.iterdir())
    content = path.read_bytes()
    if damage == "truncated":
        path.write_bytes(content[:-9])
    elif damage == "flipped":
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    elif damage == "empty":
        path.write_bytes(b"")
    else:
        cache.fit(case.weight + 1, energy=0.3)
        other = next(p for p in tmp_path.iterdir() if p != path)
        path.write_bytes(other.read_bytes())
    again = cache.fit(case.weight, energy=0.3)
    assert torch.equal(good.u, again.u)
    monkeypatch.setattr(SpectralBasis, "fit", None)  # a third SVD would fail: the file is mended
    assert torch.equal(good.v, cache.fit(case.weight, energy=0.3).v)


def test_principal_angles_are_the_ones_built_in():
    axes = orthogonal(12, 4)
    angles = torch.tensor([1e-11, 1e-4, 0.5, 1.5], dtype=torch.float64)
    a = axes[:, :4]
    b = axes[:, :4] * angles.cos() + axes[:, 4:8] * angles.sin()
    turned = b @ orthogonal(4, 8)
    torch.testing.assert_close(principal_angles(a, turned), angles, rtol=1e-4, atol=1e-15)
    expected = float(angles.cos().square().mean())
    assert projector_overlap(a, turned) == pytest.approx(expected)
    assert principal_angles(a[:, :2], turned).shape == (2,)


def test_overlap_is_one_with_itself_and_none_with_the_rest():
    case = healthy()
    basis = SpectralBasis.fit(case.weight, rank=4)
    whole = SpectralBasis.fit(case.weight, rank=10)
    rest = basis.with_directions(whole.u[:, 4:], whole.v[:, 4:])
    assert basis.overlap(basis).left == pytest.approx(1.0)
    assert basis.overlap(rest).right == pytest.approx(0.0, abs=1e-20)


def test_random_subspaces_are_orthonormal_and_reproducible():
    one = random_subspace(20, 6, 0, "a")
    torch.testing.assert_close(one.T @ one, torch.eye(6).double(), rtol=0, atol=1e-14)
    assert torch.equal(one, random_subspace(20, 6, 0, "a"))
    assert not torch.equal(one, random_subspace(20, 6, 0, "b"))
    with pytest.raises(ValueError, match="no 7-dimensional"):
        random_subspace(6, 7, 0, "a")


def test_subspace_iteration_tracks_a_small_change():
    case = healthy(out=30, inner=40)
    before = SpectralBasis.fit(case.weight, rank=6)
    weight = case.weight + 0.01 * case.update().dense()
    truth = top_k_svd(weight, 4, method="full")
    found = subspace_iteration(weight, before.v, 4, iters=60)
    torch.testing.assert_close(found.s, truth.s[:4], rtol=1e-8, atol=0)
    assert found.residual < 1e-3
    assert subspace_iteration(weight, before.v, 4, iters=1).residual > found.residual
    with pytest.raises(ValueError, match="columns"):
        subspace_iteration(weight, before.v, 7)
