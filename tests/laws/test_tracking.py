"""Tracked subspaces, densities of singular values and drift, against what they stand in for."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from law_matrices import LAW, matrix, orthogonal, randn

from revive.errors import NumericalError
from revive.linalg.basis import SpectralBasis
from revive.linalg.density import singular_density
from revive.linalg.drift import EDGES, dense_shares, drift
from revive.linalg.lowrank import LowRank
from revive.linalg.svd import top_k_svd
from revive.linalg.tracking import track


def sine(found, truth):
    """Sine of the largest angle between two subspaces of one dimension."""
    return float(torch.linalg.matrix_norm(found - truth @ (truth.T @ found), ord=2))


def close_to_truth(weight, found, slack=1e-9):
    truth = top_k_svd(weight, found.u.shape[1], method="full")
    assert sine(found.u, truth.u) <= found.error + slack
    assert sine(found.v, truth.v) <= found.error + slack
    k = len(found.s)
    assert float((found.s - truth.s[:k]).abs().max()) <= 1e-3 * float(truth.s[0])


@LAW
@given(
    st.integers(0, 10_000),
    st.sampled_from([1e-4, 1e-2, 0.3, 3.0]),
    st.sampled_from([(90, 140), (140, 90), (100, 100)]),
    st.integers(1, 6),
)
def test_the_bound_holds_whatever_is_written(seed, size, shape, k):
    s = [3.0 * 0.97**i for i in range(min(shape))]
    weight = matrix(*shape, s, seed)
    guess = track(weight, k).guess
    step = size * randn(shape[0], 2, seed=seed + 1) @ randn(2, shape[1], seed=seed + 2) / 20
    found = track(weight + step, k, guess, exact_up_to=0)
    assert found.exact or found.error <= 1e-3
    close_to_truth(weight + step, found)
    gram = found.u.T @ found.u
    torch.testing.assert_close(gram, torch.eye(k).double(), rtol=0, atol=1e-10)


def test_small_steps_are_tracked_for_long_without_a_decomposition():
    weight = matrix(120, 200, [4.0 * 0.98**i for i in range(120)], seed=3)
    guess, tracked = None, 0
    for batch in range(20):
        found = track(weight, 6, guess, exact_up_to=0)
        guess = found.guess
        tracked += not found.exact
        close_to_truth(weight, found)
        weight = weight + 0.01 * randn(120, 3, seed=batch) @ randn(3, 200, seed=100 + batch)
    assert tracked >= 18


def test_a_direction_that_the_guess_knows_nothing_of_is_not_missed():
    u, v = orthogonal(100, 1), orthogonal(150, 2)
    weight = (u[:, :20] * torch.linspace(3, 1, 20).double()) @ v[:, :20].T
    guess = track(weight, 4).guess
    stolen = weight + 50.0 * torch.outer(u[:, 60], v[:, 90])
    found = track(stolen, 4, guess, exact_up_to=0)
    assert abs(float(found.u[:, 0] @ u[:, 60])) == pytest.approx(1.0, abs=1e-9)
    close_to_truth(stolen, found)


def test_a_bad_start_is_decomposed_and_would_have_been_wrong():
    weight = randn(120, 160, seed=4)
    stale = orthogonal(160, 9)[:, :14]
    found = track(weight, 6, stale, exact_up_to=0, rounds=1)
    assert found.exact
    close_to_truth(weight, found)
    # What the certificate refused: one search from there is far off.
    one = torch.linalg.svd(weight @ stale, full_matrices=False)[0][:, :6]
    assert sine(one, top_k_svd(weight, 6, method="full").u) > 0.5


def test_small_weights_and_cuts_in_a_tie_are_decomposed():
    weight = randn(20, 30)
    assert track(weight, 3, track(weight, 3).guess).exact
    tie = matrix(60, 80, [2.0] * 5 + [1.0] * 55, seed=1)
    found = track(tie, 3, track(tie, 3).guess, exact_up_to=0)
    assert found.exact
    assert found.error > 1e-3  # there is no subspace of the first three
    with pytest.raises(ValueError, match="has 20"):
        track(weight, 21)
    with pytest.raises(NumericalError):
        track(weight * float("nan"), 3, track(weight, 3).guess)


@LAW
@given(st.integers(0, 1000), st.sampled_from([(30, 50), (50, 30)]))
def test_exact_densities_are_the_spectrum(seed, shape):
    s = [3.0 * 0.9**i for i in range(30)]
    found = singular_density(matrix(*shape, s, seed))
    torch.testing.assert_close(found.values, torch.tensor(s).double(), rtol=1e-6, atol=1e-7)
    shares = found.histogram([0.5, 2.0])
    expected = [sum(x < 0.5 for x in s), sum(0.5 <= x < 2 for x in s), sum(x >= 2 for x in s)]
    assert shares == pytest.approx([n / 30 for n in expected])
    p = [x**2 / sum(y**2 for y in s) for x in s]
    entropy = -sum(x * math.log(x) for x in p) / math.log(30)
    assert found.entropy() == pytest.approx(entropy, rel=1e-9)


def test_entropy_at_its_ends():
    assert singular_density(torch.zeros(5, 7)).entropy() == 0.0
    one = torch.outer(randn(6, seed=1), randn(9, seed=2))
    assert singular_density(one).entropy() == pytest.approx(0.0, abs=1e-9)
    assert singular_density(orthogonal(8, 3)).entropy() == pytest.approx(1.0)


@pytest.mark.parametrize("shape", [(300, 700), (700, 300)])
def test_quadrature_is_close_to_the_spectrum(shape):
    s = torch.logspace(1, -0.5, 300, dtype=torch.float64)
    weight = matrix(*shape, s, seed=2)
    exact, found = singular_density(weight), singular_density(weight, exact_up_to=0)
    assert exact.exact
    assert not found.exact
    assert float(found.counts.sum()) == pytest.approx(300)
    assert found.entropy() == pytest.approx(exact.entropy(), rel=0.05)
    edges = [0.7, 2.0, 5.0]
    assert found.histogram(edges) == pytest.approx(exact.histogram(edges), abs=0.06)
    coarse = singular_density(weight, exact_up_to=0, probes=1, steps=2)
    assert coarse.histogram(edges) != pytest.approx(exact.histogram(edges), abs=0.06)


def test_quadrature_of_a_low_rank_update():
    update = 5.0 * randn(400, 12, seed=5) @ randn(12, 500, seed=6)
    exact, found = singular_density(update), singular_density(update, exact_up_to=0)
    assert found.entropy() == pytest.approx(exact.entropy(), rel=0.1)
    assert found.histogram([1e-3])[1] == pytest.approx(12 / 400, abs=0.02)


def test_shares_of_a_dense_update_are_those_of_its_factors():
    weight = randn(20, 30, seed=1)
    basis = SpectralBasis.fit(weight, energy=0.3)
    update = LowRank(randn(20, 4, seed=2), randn(4, 30, seed=3))
    dense, factored = dense_shares(update.dense(), basis.u, basis.v), basis.block_shares(update)
    for name in ("uk_vk", "uk_rest", "rest_vk", "rest_rest"):
        assert getattr(dense, name) == pytest.approx(getattr(factored, name), abs=1e-12)
    assert dense_shares(torch.zeros(20, 30), basis.u, basis.v).total == 0.0
    guarded = basis.project_out(update.dense())
    assert dense_shares(guarded, basis.u, basis.v).rest_rest == pytest.approx(1.0)


def test_drift_of_a_constructed_turn():
    u, v = orthogonal(12, 1), orthogonal(16, 2)
    s = torch.tensor([8.0, 7, 6] + [1.0] * 9, dtype=torch.float64)
    before = (u * s) @ v[:, :12].T
    turned = u.clone()
    angle = 0.3
    turned[:, 0] = math.cos(angle) * u[:, 0] + math.sin(angle) * u[:, 5]
    turned[:, 5] = math.cos(angle) * u[:, 5] - math.sin(angle) * u[:, 0]
    delta = (turned * s) @ v[:, :12].T - before
    basis = SpectralBasis.fit(before, rank=3)
    found = drift(basis, before, delta, track(before + delta, 3))
    assert found.angles_left == pytest.approx([0, 0, 0, angle / 2, angle], abs=1e-6)
    assert found.angles_right == pytest.approx([0] * 5, abs=1e-6)
    assert found.overlap_left == pytest.approx((2 + math.cos(angle) ** 2) / 3)
    assert found.overlap_right == pytest.approx(1.0)
    assert found.norm_ratio == pytest.approx(1.0)
    fro, spectral = torch.linalg.matrix_norm(delta), torch.linalg.matrix_norm(delta, ord=2)
    assert found.stable_rank == pytest.approx(float((fro / spectral) ** 2))
    assert found.update_ratio == pytest.approx(float(fro / torch.linalg.matrix_norm(before)))
    assert found.blocks.total == pytest.approx(1.0)
    assert len(found.histogram) == len(EDGES) + 1
    # 9 of 12 singular values are s_1 / 8, the others between s_1 / 4 and s_1; 8 is on the edge.
    assert found.histogram[1] == pytest.approx(9 / 12)
    assert sum(found.histogram[2:4]) == pytest.approx(3 / 12)
    still = drift(basis, before, torch.zeros_like(before), track(before, 3))
    assert (still.stable_rank, still.entropy, still.update_ratio) == (0.0, 0.0, 0.0)
    assert still.angles_left[-1] < 1e-6


@LAW
@given(
    st.integers(0, 1000), st.sampled_from([(30, 50), (50, 30)]), st.sampled_from([0.0, 0.01, 1.0])
)
def test_the_bound_on_directions_that_still_lead(seed, shape, unguarded):
    weight = matrix(*shape, [3.0 * 0.9**i for i in range(30)], seed)
    basis = SpectralBasis.fit(weight, energy=0.3)
    update = randn(*shape, seed=seed + 1) / 50
    moved = weight + basis.project_out(update) + unguarded * update
    bound = basis.sine_to_dominant(moved, basis.tail_ratio(moved))
    now = top_k_svd(moved, basis.rank, method="full")
    assert sine(basis.u, now.u) <= bound + 1e-9
    assert sine(basis.v, now.v) <= bound + 1e-9
    if unguarded == 0.0:
        assert bound < 1e-12  # nothing was decomposed to know it


def test_directions_that_were_overtaken_are_not_taken_to_lead():
    """The map of protected directions is kept exactly, and yet they are no longer the largest."""
    weight = matrix(30, 50, [3.0 * 0.9**i for i in range(30)], seed=1)
    basis = SpectralBasis.fit(weight, energy=0.3)
    moved = weight + basis.project_out(randn(30, 50, seed=2))
    tail = basis.tail_ratio(moved)
    assert tail > 1.0
    assert basis.sine_to_dominant(moved, tail) == math.inf
    # Without the tail in it the bound would have called them the dominant ones.
    assert basis.sine_to_dominant(moved, 0.0) < 1e-12
    assert sine(basis.u, top_k_svd(moved, basis.rank).u) > 0.1
    assert SpectralBasis.fit(weight, energy=0.0).sine_to_dominant(moved, 0.0) == 0.0
