"""Laws of the steps that targets are optimised by: what depends on a model's scale."""

import pytest
import torch

from revive.editors.target_solver.target_steps import Adam, Polyak

N, D = 3, 8


def problem(seed):
    rng = torch.Generator().manual_seed(seed)
    gradient = torch.randn(N, D, generator=rng, dtype=torch.float64)
    length = torch.rand(N, generator=rng, dtype=torch.float64) + 5
    return gradient, length, torch.tensor([3.0, 0.5, 9.0], dtype=torch.float64)


def polyak(longest, allowed=lambda g: g):
    return Polyak(0.05, longest, allowed)


@pytest.mark.parametrize("scale", [1e-3, 40.0])
def test_polyak_takes_the_same_steps_at_any_scale_of_the_states(scale):
    """States c times as long have gradients 1/c as long; the step must be c times as long."""
    gradient, length, loss = problem(0)
    every = torch.arange(N)
    plain = polyak(0.2 * length)(gradient, loss, every)
    scaled = polyak(0.2 * length * scale)(gradient / scale, loss, every)
    torch.testing.assert_close(scaled, plain * scale, rtol=1e-12, atol=0)
    # Negative control: Adam's step is a length of its own.
    adam = Adam(gradient, 0.1)(gradient, loss, every)
    other = Adam(gradient, 0.1)(gradient / scale, loss, every)
    assert not torch.allclose(other, adam * scale, rtol=1e-2)


def test_polyak_lands_where_the_tangent_meets_the_wanted_loss():
    gradient, length, loss = problem(1)
    move = polyak(1e9 * length)(gradient, loss, torch.arange(N))
    reached = loss + (gradient * move).sum(dim=1)
    torch.testing.assert_close(reached, torch.full_like(loss, 0.05), rtol=0, atol=1e-12)


def test_polyak_is_bounded_and_keeps_out_of_what_is_not_allowed():
    gradient, length, loss = problem(2)
    u = torch.linalg.qr(torch.randn(D, 2, dtype=torch.float64))[0]
    active = torch.tensor([2, 0])

    def outside(g):
        return g - (g @ u) @ u.T

    move = polyak(1e-3 * length, outside)(gradient[active], loss[active], active)
    assert float((move @ u).abs().max()) < 1e-15
    # The whole bound is used for what is allowed.
    torch.testing.assert_close(move.norm(dim=1), 1e-3 * length[active], rtol=1e-12, atol=0)
    assert float((polyak(1e-3 * length)(gradient, loss, torch.arange(N)) @ u).abs().max()) > 1e-6
