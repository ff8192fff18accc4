"""The weighted solve: a price on output directions, against dense truth in fp64."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from law_matrices import LAW, randn

from revive.errors import NumericalError, SpecError
from revive.guards.base import SiteStatistics
from revive.guards.revive import Revive
from revive.linalg.basis import SpectralBasis
from revive.linalg.least_squares.normal_equations import NormalEquations
from revive.linalg.least_squares.output_metric import OutputMetric

SHAPES = (st.integers(2, 14), st.integers(2, 12), st.integers(1, 9), st.integers(0, 999))
INFINITE = float("inf")


def covariance(d, seed=0):
    x = randn(3 * d, d, seed=seed)
    return x.T @ x / len(x)


def case(d, out, n, seed):
    """A, its equations, keys, residual, and some orthonormal output directions."""
    c = covariance(d, seed)
    keys, residual = randn(d, n, seed=seed + 1), randn(out, n, seed=seed + 2)
    u = torch.linalg.qr(randn(out, out, seed=seed + 3))[0]
    return 0.7 * c, NormalEquations(c, 0.7), keys, residual, u


def objective(a, keys, residual, metric, dw):
    """||dW K - R||^2 + tr(G dW A dW^T)."""
    g = metric.u @ torch.diag(metric.g) @ metric.u.T
    return float((dw @ keys - residual).square().sum() + torch.trace(g @ dw @ a @ dw.T))


def dense_truth(a, keys, residual, metric):
    """Every output direction on its own: w_i = (u_i^T R) K^T (g_i A + K K^T)^{-1}."""
    rows = [
        (metric.u[:, i] @ residual) @ keys.T @ torch.linalg.inv(g * a + keys @ keys.T)
        for i, g in enumerate(metric.g)
    ]
    return metric.u @ torch.stack(rows)


@LAW
@given(*SHAPES)
def test_it_is_the_dense_solution(d, out, n, seed):
    a, equations, keys, residual, u = case(d, out, n, seed)
    metric = OutputMetric(u, torch.rand(out, dtype=torch.float64) * 9 + 0.1)
    update = equations.weighted_update(keys, residual, metric)
    torch.testing.assert_close(
        update.dense(), dense_truth(a, keys, residual, metric), rtol=1e-8, atol=1e-9
    )
    assert update.rank == n


@LAW
@given(*SHAPES)
def test_its_gradient_vanishes_and_nothing_nearby_is_better(d, out, n, seed):
    a, equations, keys, residual, u = case(d, out, n, seed)
    metric = OutputMetric(u, torch.logspace(-1, 2, out, dtype=torch.float64))
    dw = equations.weighted_update(keys, residual, metric).dense()
    weigh = u @ torch.diag(metric.g) @ u.T
    gradient = (dw @ keys - residual) @ keys.T + weigh @ dw @ a
    assert float(gradient.norm()) <= 1e-8 * (1 + float((residual @ keys.T).norm()))
    best = objective(a, keys, residual, metric, dw)
    plain = equations.solve_update(keys, residual).dense()
    for other in (plain, dw + 1e-3 * randn(out, d, seed=seed + 7), 0.9 * dw):
        assert best <= objective(a, keys, residual, metric, other) + 1e-12


@LAW
@given(*SHAPES)
def test_a_price_of_one_is_the_plain_update(d, out, n, seed):
    _, equations, keys, residual, u = case(d, out, n, seed)
    weighted = equations.weighted_update(keys, residual, OutputMetric(u, torch.ones(out).double()))
    plain = equations.solve_update(keys, residual)
    torch.testing.assert_close(weighted.dense(), plain.dense(), rtol=1e-9, atol=1e-9)


def test_control_another_price_is_another_update():
    _, equations, keys, residual, u = case(9, 6, 4, 5)
    doubled = OutputMetric(u, torch.full((6,), 2.0).double())
    difference = equations.weighted_update(keys, residual, doubled).dense()
    plain = equations.solve_update(keys, residual).dense()
    assert float((difference - plain).norm()) > 1e-2 * float(plain.norm())


@LAW
@given(*SHAPES, st.integers(1, 3))
def test_an_infinite_price_is_the_output_side_of_the_filter(d, out, n, seed, k):
    _, equations, keys, residual, _ = case(d, out, n, seed)
    weight = randn(out, d, seed=seed + 9)
    k = min(k, d, out)
    basis = SpectralBasis.fit(weight, rank=k)
    metric = OutputMetric(OutputMetric.of_weight(weight, 0.0).u, torch.ones(out).double())
    hard = equations.weighted_update(keys, residual, metric.forbidding(k)).dense()
    cut = basis.project_out(equations.solve_update(keys, residual), "left").dense()
    torch.testing.assert_close(hard, cut, rtol=1e-7, atol=1e-8)
    free = equations.weighted_update(keys, residual, metric).dense()
    assert float((basis.u.T @ free).norm()) > 1e-6  # the control: a finite price forbids nothing


@LAW
@given(*SHAPES)
def test_history_counts_as_the_editor_counts_it(d, out, n, seed):
    a, equations, keys, residual, u = case(d, out, n, seed)
    metric = OutputMetric(u, torch.linspace(0.5, 4, out, dtype=torch.float64))
    for number in range(4):
        past = randn(d, 2, seed=seed + 20 + number)
        equations, a = equations.with_history(past), a + past @ past.T
        torch.testing.assert_close(
            equations.weighted_update(keys, residual, metric).dense(),
            dense_truth(a, keys, residual, metric),
            rtol=1e-7,
            atol=1e-8,
        )


def test_a_known_answer():
    """One key, C the identity, axes for directions: each output is r / (1 + lambda g)."""
    equations = NormalEquations(torch.eye(3).double(), 2.0)
    key = torch.tensor([[1.0], [0.0], [0.0]]).double()
    residual = torch.tensor([[1.0], [1.0], [1.0]]).double()
    metric = OutputMetric(torch.eye(3).double(), torch.tensor([0.5, 1.0, INFINITE]).double())
    dw = equations.weighted_update(key, residual, metric).dense()
    expected = torch.zeros(3, 3).double()
    expected[:, 0] = torch.tensor([1 / 2, 1 / 3, 0.0], dtype=torch.float64)
    torch.testing.assert_close(dw, expected, rtol=1e-12, atol=1e-12)


def test_prices_grow_with_what_a_direction_is_worth():
    weight = randn(6, 10, seed=1)
    u, s, _ = torch.linalg.svd(weight)
    metric = OutputMetric.of_weight(weight, 2.0)
    torch.testing.assert_close(metric.g, (s / s.median()) ** 2, rtol=1e-9, atol=1e-9)
    assert float((metric.u.T @ u).abs().diagonal().min()) > 1 - 1e-9
    assert float(metric.g.median()) == pytest.approx(1.0)
    assert torch.all(OutputMetric.of_weight(weight, 0.0).g == 1)
    inputs = covariance(10, 3)
    seen = OutputMetric.of_inputs(weight, inputs, 1.0)
    unused = OutputMetric.of_moment(torch.diag(torch.tensor([4.0, 1.0, 0, 0, 0])), 1.0)
    torch.testing.assert_close(unused.g[:2], torch.tensor([2.0, 1.0]).double())
    assert float(unused.g[2:].max()) < 1e-6
    root = torch.linalg.cholesky(inputs)
    expected = torch.linalg.svdvals(weight @ root)
    torch.testing.assert_close(seen.g, expected / expected.median(), rtol=1e-8, atol=1e-8)


def test_what_cannot_be_weighed_is_refused():
    with pytest.raises(NumericalError, match="zero"):
        OutputMetric.of_moment(torch.zeros(3, 3), 2.0)
    with pytest.raises(NumericalError, match="NaN"):
        OutputMetric.of_moment(torch.full((3, 3), float("nan")), 2.0)
    guard = Revive(solve="weighted", weigh="gradients")
    with pytest.raises(SpecError, match="gradients"):
        guard.metric(randn(4, 5), "site", SiteStatistics())
    with pytest.raises(SpecError, match="power"):
        Revive(solve="weighted", power=-1.0)


def test_only_the_weighted_guard_weighs():
    weight = randn(4, 5)
    assert Revive().metric(weight, "site", SiteStatistics()) is None
    found = Revive(solve="weighted").metric(weight, "site", SiteStatistics())
    assert found is not None
    for weigh, statistics in (
        ("inputs", SiteStatistics(inputs=covariance(5))),
        ("gradients", SiteStatistics(gradients=covariance(4))),
    ):
        other = Revive(solve="weighted", weigh=weigh).metric(weight, "site", statistics)
        assert other is not None
        assert not torch.allclose(other.g, found.g)
