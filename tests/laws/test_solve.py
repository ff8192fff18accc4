"""The least-squares solve, its history, and its constrained form, against dense truth in fp64."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from law_matrices import LAW, healthy, randn

from revive.errors import NumericalError
from revive.linalg.basis import SpectralBasis
from revive.linalg.least_squares.normal_equations import NormalEquations
from revive.linalg.moments import SecondMoment


def covariance(d, samples=None, seed=0):
    x = randn(samples or 3 * d, d, seed=seed)
    return x.T @ x / len(x)


def dense_solution(a, keys, residual):
    return torch.linalg.solve(a + keys @ keys.T, keys @ residual.T).T


def objective(a, keys, residual, dw):
    return float((dw @ keys - residual).square().sum() + torch.trace(dw @ a @ dw.T))


@LAW
@given(
    st.integers(1, 20),
    st.integers(1, 25),
    st.integers(1, 12),
    st.floats(0.01, 100.0),
    st.integers(0, 999),
)
def test_the_low_rank_form_is_the_dense_solution(d, n, out, ridge, seed):
    c = covariance(d, seed=seed)
    keys, residual = randn(d, n, seed=seed + 1), randn(out, n, seed=seed + 2)
    update = NormalEquations(c, ridge, extra_ridge=0.5).solve_update(keys, residual)
    a = ridge * c + 0.5 * torch.eye(d).double()
    expected = dense_solution(a, keys, residual)
    torch.testing.assert_close(update.dense(), expected, rtol=1e-10, atol=1e-10)
    assert torch.equal(update.left, residual)


def test_control_forgetting_the_ridge_is_seen():
    keys, residual, c = randn(8, 3, seed=1), randn(5, 3, seed=2), covariance(8)
    right = NormalEquations(c, 2.0).solve_update(keys, residual).dense()
    wrong = NormalEquations(c, 2.0, extra_ridge=0.5).solve_update(keys, residual).dense()
    assert float((right - wrong).norm()) > 1e-3 * float(right.norm())


@LAW
@given(st.integers(2, 16), st.lists(st.integers(1, 5), max_size=14), st.integers(0, 999))
def test_history_is_exact_on_both_sides_of_a_fold(d, batches, seed):
    c = covariance(d, seed=seed)
    equations = NormalEquations(c, 3.0)
    a = 3.0 * c
    keys, residual = randn(d, 4, seed=seed + 1), randn(6, 4, seed=seed + 2)
    basis = SpectralBasis.fit(randn(6, d, seed=seed + 3), rank=2)
    for number, n in enumerate(batches):
        past = randn(d, n, seed=seed + 10 + number)
        before = equations.pending
        grown = equations.with_history(past)
        assert equations.pending == before  # never changed in place
        equations = grown
        a = a + past @ past.T
        assert 2 * equations.pending <= d
        torch.testing.assert_close(
            equations.solve_update(keys, residual).dense(),
            dense_solution(a, keys, residual),
            rtol=1e-9,
            atol=1e-9,
        )
    constrained = equations.constrained_update(keys, residual, basis).dense()
    expected = constrained_truth(a, keys, residual, basis)
    torch.testing.assert_close(constrained, expected, rtol=1e-8, atol=1e-8)


def test_control_history_matters():
    c, past = covariance(8), randn(8, 3, seed=4)
    keys, residual = randn(8, 3, seed=1), randn(5, 3, seed=2)
    plain = NormalEquations(c, 2.0)
    with_past = plain.with_history(past)
    difference = with_past.solve_update(keys, residual).dense()
    difference = difference - plain.solve_update(keys, residual).dense()
    assert float(difference.norm()) > 1e-3


def constrained_truth(a, keys, residual, basis):
    """P_L R K^T Q (Q^T (A + K K^T) Q)^{-1} Q^T with Q formed."""
    complete = torch.linalg.qr(basis.v, mode="complete")[0]
    q = complete[:, basis.rank :]
    inner = q.T @ (a + keys @ keys.T) @ q
    allowed = residual - basis.u @ (basis.u.T @ residual)
    return allowed @ keys.T @ q @ torch.linalg.solve(inner, q.T)


@LAW
@given(
    st.integers(2, 14),
    st.integers(2, 14),
    st.integers(1, 10),
    st.floats(0.05, 20.0),
    st.integers(0, 999),
    st.data(),
)
def test_the_constrained_solution_is_optimal(d, out, n, ridge, seed, data):
    k = data.draw(st.integers(0, min(d, out)))
    a = ridge * covariance(d, seed=seed)
    keys, residual = randn(d, n, seed=seed + 1), randn(out, n, seed=seed + 2)
    basis = SpectralBasis.fit(randn(out, d, seed=seed + 3), rank=k)
    equations = NormalEquations(covariance(d, seed=seed), ridge)
    dw = equations.constrained_update(keys, residual, basis).dense()
    assert float((basis.u.T @ dw).norm() + (dw @ basis.v).norm()) <= 1e-10 * (1 + float(dw.norm()))
    torch.testing.assert_close(
        dw, constrained_truth(a, keys, residual, basis), rtol=1e-8, atol=1e-8
    )
    # Stationary: the gradient vanishes on the free directions.
    gradient = (dw @ keys - residual) @ keys.T + dw @ a
    assert float(basis.project_out(gradient).norm()) <= 1e-8 * (1 + float(gradient.norm()))
    cut = basis.project_out(equations.solve_update(keys, residual)).dense()
    best, posthoc = (objective(a, keys, residual, x) for x in (dw, cut))
    assert best <= posthoc * (1 + 1e-9) + 1e-12


def test_control_cutting_afterwards_is_worse():
    case = healthy()
    out, d = case.weight.shape
    c, keys, residual = covariance(d), randn(d, 6, seed=1), randn(out, 6, seed=2)
    basis = SpectralBasis.fit(case.weight, rank=4)
    equations = NormalEquations(c, 0.5)
    dw = equations.constrained_update(keys, residual, basis).dense()
    cut = basis.project_out(equations.solve_update(keys, residual)).dense()
    best, posthoc = (objective(0.5 * c, keys, residual, x) for x in (dw, cut))
    assert best < 0.99 * posthoc


def test_the_constraint_follows_the_basis_it_is_given():
    case = healthy()
    keys, residual = randn(14, 3, seed=1), randn(10, 3, seed=2)
    equations = NormalEquations(covariance(14), 1.0)
    for rank in (2, 5, 2):
        basis = SpectralBasis.fit(case.weight, rank=rank)
        dw = equations.constrained_update(keys, residual, basis).dense()
        assert float((dw @ basis.v).norm()) < 1e-12
        equations = equations.with_history(randn(14, 1, seed=rank))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_what_comes_out_has_the_dtype_of_what_went_in(dtype):
    c = covariance(8).to(dtype)
    keys, residual = randn(8, 3, seed=1).to(dtype), randn(5, 3, seed=2).to(dtype)
    equations = NormalEquations(c, 1.0)
    basis = SpectralBasis.fit(randn(5, 8), rank=2)
    assert equations.solve_update(keys, residual).left.dtype == dtype
    assert equations.constrained_update(keys, residual, basis).right.dtype == dtype


def test_a_singular_moment_gets_a_recorded_jitter():
    d = 12
    singular = covariance(d, samples=5)
    equations = NormalEquations(singular, 2.0)
    assert 0 < equations.jitter <= 1e-6 * float(2.0 * singular.diagonal().mean())
    assert NormalEquations(covariance(d), 2.0).jitter == 0.0
    keys, residual = randn(d, 3, seed=1), randn(4, 3, seed=2)
    a = 2.0 * singular + equations.jitter * torch.eye(d).double()
    update = equations.solve_update(keys, residual).dense()
    torch.testing.assert_close(update, dense_solution(a, keys, residual), rtol=1e-4, atol=1e-4)


def test_equal_keys_with_different_residuals_are_averaged():
    key = randn(8, 1, seed=1)
    keys = torch.cat([key, key], dim=1)
    residual = randn(5, 2, seed=2)
    update = NormalEquations(covariance(8), 1e-6).solve_update(keys, residual).dense()
    torch.testing.assert_close(update @ key, residual.mean(1, keepdim=True), rtol=1e-4, atol=1e-4)


def test_bad_numbers_and_shapes_are_refused():
    equations = NormalEquations(covariance(8), 1.0)
    keys, residual = randn(8, 3), randn(5, 3)
    with pytest.raises(NumericalError, match="keys"):
        equations.solve_update(keys * float("inf"), residual)
    with pytest.raises(NumericalError, match="residual"):
        equations.solve_update(keys, residual * float("nan"))
    with pytest.raises(ValueError, match=r"expected \[8, n\]"):
        equations.solve_update(keys.T, residual)
    with pytest.raises(ValueError, match=r"expected \[d_out, 3\]"):
        equations.solve_update(keys, residual[:, :2])
    with pytest.raises(NumericalError, match="larger ridge"):
        NormalEquations(torch.zeros(4, 4), 1.0)
    with pytest.raises(NumericalError, match="NaN"):
        NormalEquations(torch.full((4, 4), float("nan")), 1.0)


@LAW
@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.integers(0, 999))
def test_streaming_moments_are_the_direct_one(sizes, seed):
    chunks = [randn(n, 5, seed=seed + i) for i, n in enumerate(sizes)]
    whole = torch.cat(chunks)
    streamed = SecondMoment(5)
    for chunk in chunks:
        streamed.update(chunk)
    torch.testing.assert_close(streamed.value(), whole.T @ whole / len(whole))
    assert streamed.count == len(whole)
    half = len(chunks) // 2
    parts = [SecondMoment(5), SecondMoment(5)]
    for i, chunk in enumerate(chunks):
        parts[i >= half].update(chunk)
    merged = parts[0].merge(parts[1])
    torch.testing.assert_close(merged.value(), streamed.value())
    assert torch.equal(merged.value(), parts[1].merge(parts[0]).value())
    restored = SecondMoment.from_state(merged.state_dict())
    restored.update(chunks[0])
    assert restored.count == merged.count + len(chunks[0])
    assert merged.count == len(whole)


def test_moments_refuse_what_would_poison_them():
    moment = SecondMoment(3)
    with pytest.raises(ValueError, match="no keys"):
        moment.value()
    with pytest.raises(ValueError, match="expected"):
        moment.update(randn(2, 4))
    with pytest.raises(NumericalError, match="wider"):
        moment.update(randn(2, 3) * float("nan"))
    assert moment.count == 0
    with pytest.raises(ValueError, match="float32 or float64"):
        SecondMoment(3, torch.bfloat16)
    with pytest.raises(ValueError, match="merge"):
        moment.merge(SecondMoment(4))
    half = SecondMoment(3, torch.float32)
    half.update(randn(4, 3).bfloat16())
    assert half.value().dtype == torch.float32


def test_a_known_answer_meets_the_kkt_conditions():
    """Axes for singular directions, the identity for C: the answer can be written down.

    min ||dW K - R||^2 + lambda ||dW||^2  subject to  u^T dW = 0 and dW v = 0, with u, v the first
    axes. Keys k = e1 + e2: only e2 is free, so that each allowed output is r / (1 + lambda) on e2.
    """
    ridge = 2.0
    weight = torch.diag(torch.tensor([5.0, 1.0, 0.5])).double()
    basis = SpectralBasis.fit(weight, rank=1)
    keys = torch.tensor([[1.0], [1.0], [0.0]]).double()
    residual = torch.tensor([[3.0], [6.0], [9.0]]).double()
    equations = NormalEquations(torch.eye(3).double(), ridge)
    dw = equations.constrained_update(keys, residual, basis).dense()
    expected = torch.zeros(3, 3).double()
    expected[1, 1], expected[2, 1] = 6.0 / (1 + ridge), 9.0 / (1 + ridge)
    torch.testing.assert_close(dw, expected, rtol=1e-12, atol=1e-12)

    # Stationarity: the gradient is what multipliers of the two constraints can cancel,
    # G = u m^T + n v^T, and feasibility holds.
    gradient = 2 * ((dw @ keys - residual) @ keys.T + ridge * dw)
    u, v = basis.u, basis.v
    m, n = gradient.T @ u, gradient @ v - u @ (u.T @ gradient @ v)
    assert float((gradient - u @ m.T - n @ v.T).norm()) <= 1e-8
    assert float((u.T @ dw).norm()) <= 1e-8
    assert float((dw @ v).norm()) <= 1e-8

    cut = basis.project_out(equations.solve_update(keys, residual)).dense()
    a = ridge * torch.eye(3).double()
    assert objective(a, keys, residual, dw) < objective(a, keys, residual, cut) - 1e-3
    # The control: the cut solution is feasible too, but not stationary.
    slope = 2 * ((cut @ keys - residual) @ keys.T + ridge * cut)
    assert float(basis.project_out(slope).norm()) > 1e-2
