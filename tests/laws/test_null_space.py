"""Which input directions ordinary keys hardly use, by two rules."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from law_matrices import LAW, orthogonal, randn

from revive.errors import NumericalError
from revive.linalg.least_squares.null_space import NullSpace


def moment(values, seed=1):
    """A second moment with the given eigenvalues, and its directions."""
    q = orthogonal(len(values), seed)
    return (q * torch.tensor(values).double()) @ q.T, q


def projector(space):
    return torch.eye(len(space.excluded)).double() - space.excluded @ space.excluded.T


def test_a_threshold_is_on_the_eigenvalues_themselves():
    c, q = moment([0.001, 0.5, 0.01, 2.0])
    space = NullSpace.below(c, 0.02)
    wanted = q[:, [0, 2]] @ q[:, [0, 2]].T
    torch.testing.assert_close(projector(space), wanted, rtol=1e-10, atol=1e-10)
    assert space.kept == 0.5
    assert space.energy == pytest.approx(0.011 / 2.511)
    # An eigenvalue that is the threshold is not below it.
    assert NullSpace.below(torch.diag(torch.tensor([1.0, 2.0])), 1.0).kept == 0.0


def test_a_share_is_of_the_trace():
    c, q = moment([1.0, 2.0, 3.0, 94.0])
    for share, kept in ((0.005, 0), (0.011, 1), (0.031, 2), (0.059, 2), (0.061, 3), (0.99, 3)):
        space = NullSpace.holding(c, share)
        torch.testing.assert_close(
            projector(space), q[:, :kept] @ q[:, :kept].T, rtol=1e-10, atol=1e-10
        )
        assert (space.kept, space.energy) == pytest.approx((kept / 4, sum((1, 2, 3)[:kept]) / 100))


@LAW
@given(st.integers(2, 12), st.floats(0.001, 0.9), st.floats(1e-4, 1e4), st.integers(0, 999))
def test_a_share_bounds_the_energy_that_meets_an_update_whatever_the_scale(d, share, scale, seed):
    x = randn(3 * d, d, seed=seed) * torch.logspace(0, -2, d, dtype=torch.float64)
    c = x.T @ x / len(x)
    space, scaled = NullSpace.holding(c, share), NullSpace.holding(scale * c, share)
    p = projector(space)
    met = float(((x @ p).square().sum(1)).mean() / x.square().sum(1).mean())
    assert met == pytest.approx(space.energy, abs=1e-12)
    assert met <= share + 1e-12
    torch.testing.assert_close(projector(scaled), p, rtol=1e-7, atol=1e-7)
    # It is as large as it may be: one direction more would hold too much.
    values = torch.linalg.eigvalsh(c)
    assert float(values[: round(space.kept * d) + 1].sum()) > share * float(values.sum())


def test_control_a_threshold_does_depend_on_the_scale():
    c, _ = moment([0.001, 0.5, 0.01, 2.0])
    assert NullSpace.below(c, 0.02).kept != NullSpace.below(100 * c, 0.02).kept


def test_equal_eigenvalues_are_not_parted():
    """Which of them came first would be rounding, and the result another on another machine."""
    c, q = moment([1.0, 5.0, 5.0, 5.0, 84.0])
    space = NullSpace.holding(c, 0.07)
    assert space.kept == 0.2
    torch.testing.assert_close(projector(space), q[:, :1] @ q[:, :1].T, rtol=1e-9, atol=1e-9)
    assert NullSpace.holding(c, 0.17).kept == 0.8


def test_directions_that_no_key_uses_are_kept():
    keys = randn(20, 4, seed=1) @ randn(4, 9, seed=2)
    c = keys.T @ keys / 20
    for space in (NullSpace.below(c, 1e-9), NullSpace.holding(c, 1e-9)):
        assert space.kept == pytest.approx(5 / 9)
        assert float((keys @ projector(space)).norm()) <= 1e-6 * float(keys.norm())


def test_moments_that_say_nothing_are_refused():
    for make in (NullSpace.below, NullSpace.holding):
        with pytest.raises(NumericalError, match="zero"):
            make(torch.zeros(3, 3), 0.1)
        with pytest.raises(NumericalError, match="NaN"):
            make(torch.full((3, 3), float("nan")), 0.1)
