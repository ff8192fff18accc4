"""Least squares on a null space (AlphaEdit): plain, constrained, weighted, against truth in fp64.

The problem: minimise ||dW K - R||^2 + ||dW K_p||^2 + L2 ||dW||^2 over dW = dW P.
"""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from law_matrices import LAW, orthogonal, randn

from revive.linalg.basis import SpectralBasis
from revive.linalg.least_squares.base_inverse import Projected
from revive.linalg.least_squares.normal_equations import NormalEquations
from revive.linalg.least_squares.output_metric import OutputMetric

L2 = 0.7
OUT = 6


class Problem:
    """One batch of edits on a null space, with the keys of earlier batches."""

    def __init__(self, d, excluded, n, history, seed):
        self.excluded = excluded
        self.projector = torch.eye(d).double() - excluded @ excluded.T
        self.keys, self.residual = randn(d, n, seed=seed + 1), randn(OUT, n, seed=seed + 2)
        self.past = torch.cat([randn(d, 0), *history], dim=1)
        self.equations = NormalEquations.of_base(Projected(excluded, L2))
        for keys in history:
            self.equations = self.equations.with_history(keys)

    @property
    def a(self):
        return self.past @ self.past.T + L2 * torch.eye(len(self.past)).double()

    def gradient(self, dw):
        """Half the objective's slope."""
        return (dw @ self.keys - self.residual) @ self.keys.T + dw @ self.a

    def published(self):
        """[P (K K^T + K_p K_p^T) + L2 I]^{-1} P K R^T, as the paper writes it."""
        moment = self.keys @ self.keys.T + self.past @ self.past.T
        left = self.projector @ moment + L2 * torch.eye(len(self.past)).double()
        return torch.linalg.solve(left, self.projector @ self.keys @ self.residual.T).T


def span(columns, tolerance=1e-9):
    """Orthonormal columns of a span, however dependent the columns are."""
    u, s, _ = torch.linalg.svd(columns, full_matrices=False)
    return u[:, s > tolerance]


def off_kkt(problem, dw, basis):
    """How far an update is from the conditions of optimality, relative to the slope at zero.

    Feasible: U^T dW = 0, dW V = 0, dW = dW P. Stationary: the slope is a sum of multipliers of the
    constraints, so that nothing is left of it on (I - U U^T) . (range of P without V).
    """
    free = span(problem.projector - basis_part(problem.projector, basis))
    slope = problem.gradient(dw)
    left = slope - basis.u @ (basis.u.T @ slope)
    parts = (
        left @ free @ free.T,
        basis.u.T @ dw,
        dw @ basis.v,
        dw @ problem.excluded,
    )
    scale = float(problem.gradient(torch.zeros_like(dw)).norm())
    return max(float(p.norm()) for p in parts) / scale


def basis_part(projector, basis):
    """Projector on P V: the protected inputs as the null space sees them."""
    seen = span(projector @ basis.v)
    return seen @ seen.T


def protected(weight_seed, d, v):
    """A basis with random output directions and the given input directions."""
    fitted = SpectralBasis.fit(randn(OUT, d, seed=weight_seed), rank=v.shape[1])
    return fitted.with_directions(fitted.u, v)


def batches(d, count, seed):
    """Keys of `count` earlier batches of two; more than d / 2 columns are folded into the base."""
    return [randn(d, 2, seed=seed + 10 + i) for i in range(count)]


SIZES = (st.integers(6, 14), st.integers(1, 5), st.integers(0, 9), st.integers(0, 999))


@LAW
@given(*SIZES, st.data())
def test_the_update_is_the_published_one(d, n, count, seed, data):
    excluded = orthogonal(d, seed)[:, : data.draw(st.integers(0, d - 1))]
    problem = Problem(d, excluded, n, batches(d, count, seed), seed)
    assert 2 * problem.equations.pending <= d
    update = problem.equations.solve_update(problem.keys, problem.residual)
    torch.testing.assert_close(update.dense(), problem.published(), rtol=1e-9, atol=1e-10)
    assert torch.equal(update.left, problem.residual)
    assert float((update.right @ excluded).norm()) <= 1e-12 * (1 + float(update.right.norm()))


CUTS = {
    # From the excluded directions and the kept ones, two protected inputs.
    "in general position": lambda e, k: orthogonal(len(e), 77)[:, :2],
    "inside the null space": lambda e, k: k[:, :2],
    "outside the null space": lambda e, k: e[:, :2],
    "one inside, one outside": lambda e, k: torch.stack([k[:, 0], e[:, 0]], dim=1),
    "one in part, one outside": lambda e, k: torch.stack([k[:, 0] + e[:, 0], e[:, 1]], dim=1),
    "almost outside": lambda e, k: torch.stack([e[:, 0] + 1e-6 * k[:, 0], e[:, 1]], dim=1),
    "two that P makes one": lambda e, k: torch.stack([k[:, 0] + e[:, 0], k[:, 0] - e[:, 0]], dim=1),
}


def degenerate(cut, count, n=3, d=12):
    whole = orthogonal(d, 5)
    excluded, kept = whole[:, :4], whole[:, 4:]
    v = torch.linalg.qr(CUTS[cut](excluded, kept))[0]
    return Problem(d, excluded, n, batches(d, count, 5), 5), protected(3, d, v)


# Two columns a batch and 12 inputs: three batches wait, four and more are folded.
@pytest.mark.parametrize("count", [0, 1, 3, 4, 5, 9])
@pytest.mark.parametrize("cut", CUTS)
def test_the_constrained_update_meets_its_kkt_conditions(cut, count):
    problem, basis = degenerate(cut, count)
    update = problem.equations.constrained_update(problem.keys, problem.residual, basis)
    assert off_kkt(problem, update.dense(), basis) <= 1e-8
    assert update.rank == problem.keys.shape[1]


@LAW
@given(*SIZES, st.data())
def test_the_constrained_update_is_optimal_for_any_protected_inputs(d, n, count, seed, data):
    excluded = orthogonal(d, seed)[:, : data.draw(st.integers(1, d - 2))]
    problem = Problem(d, excluded, n, batches(d, count, seed), seed)
    v = orthogonal(d, seed + 1)[:, : data.draw(st.integers(1, min(OUT, d)))]
    basis = protected(seed, d, v)
    dw = problem.equations.constrained_update(problem.keys, problem.residual, basis).dense()
    assert off_kkt(problem, dw, basis) <= 1e-8


def test_the_cached_constraint_follows_the_guard():
    """The same equations under one basis, then another."""
    problem, basis = degenerate("in general position", 2)
    _, other = degenerate("inside the null space", 2)
    problem.equations.constrained_update(problem.keys, problem.residual, basis)
    dw = problem.equations.constrained_update(problem.keys, problem.residual, other).dense()
    assert off_kkt(problem, dw, other) <= 1e-8
    assert off_kkt(problem, dw, basis) > 1e-3


@pytest.mark.parametrize("count", [2, 9])
@pytest.mark.parametrize(
    "cut", ["in general position", "inside the null space", "one in part, one outside"]
)
def test_control_cutting_afterwards_does_not_meet_them(cut, count):
    problem, basis = degenerate(cut, count)
    plain = problem.equations.solve_update(problem.keys, problem.residual)
    assert off_kkt(problem, basis.project_out(plain).dense(), basis) > 1e-3


@pytest.mark.parametrize("count", [3, 9])
def test_control_forgetting_the_history_does_not_meet_them(count):
    problem, basis = degenerate("in general position", count)
    forgetful = NormalEquations.of_base(Projected(problem.excluded, L2))
    dw = forgetful.constrained_update(problem.keys, problem.residual, basis).dense()
    assert off_kkt(problem, dw, basis) > 1e-3


def test_everything_protected_leaves_nothing_to_write():
    whole = orthogonal(9, 2)
    problem = Problem(9, whole[:, :4], 3, batches(9, 1, 2), 2)
    basis = protected(3, 9, whole[:, 4:])
    update = problem.equations.constrained_update(problem.keys, problem.residual, basis)
    assert float(update.dense().norm()) <= 1e-12


def weighted_truth(problem, metric):
    """Every output direction on its own, over the range of P."""
    q = span(problem.projector)
    moment = q.T @ problem.keys @ problem.keys.T @ q
    rows = [
        (metric.u[:, i] @ problem.residual)
        @ problem.keys.T
        @ q
        @ torch.linalg.solve(g * (q.T @ problem.a @ q) + moment, q.T)
        for i, g in enumerate(metric.g)
    ]
    return metric.u @ torch.stack(rows)


@LAW
@given(*SIZES, st.integers(1, 4))
def test_the_weighted_update_is_the_dense_solution(d, n, count, seed, e):
    problem = Problem(d, orthogonal(d, seed)[:, :e], n, batches(d, count, seed), seed)
    prices = torch.logspace(-1, 2, OUT, dtype=torch.float64)
    metric = OutputMetric(orthogonal(OUT, seed + 1), prices)
    dw = problem.equations.weighted_update(problem.keys, problem.residual, metric).dense()
    torch.testing.assert_close(dw, weighted_truth(problem, metric), rtol=1e-8, atol=1e-9)
    assert float((dw @ problem.excluded).norm()) <= 1e-11 * (1 + float(dw.norm()))


@LAW
@given(*SIZES, st.integers(0, 4))
def test_a_price_of_one_is_the_plain_update(d, n, count, seed, e):
    problem = Problem(d, orthogonal(d, seed)[:, :e], n, batches(d, count, seed), seed)
    metric = OutputMetric(orthogonal(OUT, seed + 1), torch.ones(OUT).double())
    dw = problem.equations.weighted_update(problem.keys, problem.residual, metric).dense()
    torch.testing.assert_close(dw, problem.published(), rtol=1e-9, atol=1e-10)


def test_control_another_price_is_another_update():
    problem = Problem(10, orthogonal(10, 1)[:, :3], 4, batches(10, 2, 1), 1)
    metric = OutputMetric(orthogonal(OUT, 2), torch.full((OUT,), 2.0).double())
    dw = problem.equations.weighted_update(problem.keys, problem.residual, metric).dense()
    plain = problem.published()
    assert float((dw - plain).norm()) > 1e-2 * float(plain.norm())


def test_equations_on_a_subspace_are_not_restricted_to_some_inputs():
    problem = Problem(10, orthogonal(10, 1)[:, :3], 4, [], 1)
    with pytest.raises(TypeError, match="subspace"):
        problem.equations.restricted(torch.tensor([0, 1]))
