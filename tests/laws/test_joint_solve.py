"""The joint solve over experts: the stacked problem's own minimiser, without its matrix."""

import pytest
import torch

from revive.errors import NumericalError
from revive.linalg.least_squares.joint import joint_update
from revive.linalg.least_squares.normal_equations import NormalEquations

OUT, EDITS = 7, 5
DIMS = {"a": 6, "b": 9, "c": 4}


def problem(seed=0, history=False):
    """Experts of different widths; every edit is sent to some of them."""
    g = torch.Generator().manual_seed(seed)
    sent = {"a": [0, 1, 2, 4], "b": [1, 3], "c": [0, 3]}
    keys, equations, squares = {}, {}, {}
    for name, d in DIMS.items():
        root = torch.randn(d, 3 * d, generator=g, dtype=torch.float64)
        moment = root @ root.T / (3 * d)
        keys[name] = torch.zeros(d, EDITS, dtype=torch.float64)
        drawn = torch.randn(d, len(sent[name]), generator=g, dtype=torch.float64)
        keys[name][:, sent[name]] = drawn
        equations[name] = NormalEquations(moment, 0.3)
        squares[name] = 0.3 * moment
        if history:
            past = torch.randn(d, 2, generator=g, dtype=torch.float64)
            equations[name] = equations[name].with_history(past)
            squares[name] = squares[name] + past @ past.T
    residual = torch.randn(OUT, EDITS, generator=g, dtype=torch.float64)
    return keys, equations, squares, residual


def objective(updates, keys, squares, residual):
    made = sum(updates[n] @ keys[n] for n in keys)
    cost = sum(torch.trace(updates[n] @ squares[n] @ updates[n].T) for n in keys)
    return (made - residual).square().sum() + cost


@pytest.mark.parametrize("history", [False, True])
@pytest.mark.parametrize("seed", [0, 1])
def test_it_is_the_dense_solve_of_the_stacked_matrix(seed, history):
    keys, equations, squares, residual = problem(seed, history)
    found = joint_update(equations, keys, residual)
    stacked, a = torch.cat(list(keys.values())), torch.block_diag(*squares.values())
    dense = residual @ stacked.T @ torch.linalg.inv(a + stacked @ stacked.T)
    for name, expected in zip(keys, dense.split(list(DIMS.values()), dim=1), strict=True):
        torch.testing.assert_close(found[name].dense(), expected, rtol=1e-10, atol=1e-10)
        assert found[name].rank == EDITS


def test_it_is_the_minimiser_and_separate_solves_are_not():
    keys, equations, squares, residual = problem()
    updates = {
        n: u.dense().requires_grad_() for n, u in joint_update(equations, keys, residual).items()
    }
    best = objective(updates, keys, squares, residual)
    gradients = torch.autograd.grad(best, list(updates.values()))
    assert max(float(g.abs().max()) for g in gradients) < 1e-10
    # Negative control: every expert by itself would write the whole residual.
    alone = {n: equations[n].solve_update(keys[n], residual).dense().requires_grad_() for n in keys}
    worse = objective(alone, keys, squares, residual)
    gradients = torch.autograd.grad(worse, list(alone.values()))
    assert float(worse.detach()) > 1.05 * float(best.detach())
    assert max(float(g.abs().max()) for g in gradients) > 0.1


def test_an_expert_alone_is_the_plain_solve():
    keys, equations, _, residual = problem()
    joint = joint_update(equations, {"a": keys["a"]}, residual)["a"]
    plain = equations["a"].solve_update(keys["a"], residual)
    torch.testing.assert_close(joint.dense(), plain.dense(), rtol=1e-12, atol=1e-12)


def test_columns_belong_to_edits():
    """Leaving a column out leaves out that residual, in every expert."""
    keys, equations, _, residual = problem()
    found = joint_update(equations, keys, residual)
    without = residual.clone()
    without[:, 3] = 0
    for name, update in joint_update(equations, keys, without).items():
        kept = [c for c in range(EDITS) if c != 3]
        left = found[name].left[:, kept] @ found[name].right[kept]
        torch.testing.assert_close(update.dense(), left, rtol=1e-12, atol=1e-12)


def test_nan_is_refused():
    keys, equations, _, residual = problem()
    residual[0, 0] = float("nan")
    with pytest.raises(NumericalError, match="residual"):
        joint_update(equations, keys, residual)
    keys["b"][0, 1] = float("inf")
    with pytest.raises(NumericalError, match=r"columns of a batch"):
        joint_update(equations, keys, residual.nan_to_num())
