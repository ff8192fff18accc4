"""What a site can write behind a scale or a norm, and how it is asked for it, in fp64."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from law_matrices import LAW, randn

from revive.linalg.ellipsoid import nearest_on_ellipsoid
from revive.models.residual_write import Normed, Scaled

SIZES = st.tuples(st.integers(2, 12), st.integers(1, 4), st.integers(0, 999))
LENGTHS = st.floats(0.01, 30.0)


class Norm(torch.nn.Module):
    """An RMS norm in the input's own precision, with a floor that matters."""

    def __init__(self, gain, floor=0.1):
        super().__init__()
        self.gain, self.floor = gain, floor

    def forward(self, y):
        return y * torch.rsqrt(y.square().mean(-1, keepdim=True) + self.floor) * self.gain


def normed(gain):
    return Normed(Norm(gain), gain)


def uneven(d, seed):
    """Gains of both signs over two orders of magnitude."""
    return randn(d, seed=seed).sign() * 10 ** randn(d, seed=seed + 7).clamp(-1, 1)


@LAW
@given(SIZES, LENGTHS)
def test_what_is_written_is_never_further_from_what_is_wanted(sizes, length):
    d, n, seed = sizes
    entry = normed(uneven(d, seed))
    y, wanted = randn(n, d, seed=seed + 1), length * randn(n, d, seed=seed + 2)
    change = entry.pulled_back(y, wanted)
    before, after = entry.written(y), entry.written(y + change)
    missing = (after - before - wanted).norm(dim=1)
    assert bool((missing <= wanted.norm(dim=1) * (1 + 1e-9) + 1e-9).all())
    torch.testing.assert_close((y + change).norm(dim=1), y.norm(dim=1), rtol=1e-12, atol=0)


def test_control_dividing_by_the_gain_can_lead_away():
    """A target in the direction asked for, as a short axis sees it, is far from the target."""
    gain = torch.tensor([1.0, 1.0, 1.0, 0.01], dtype=torch.float64)
    entry = normed(gain)
    y, wanted = torch.ones(1, 4).double(), torch.tensor([[0.1, 0.0, 0.0, 0.5]]).double()
    naive = (entry.written(y) + wanted) / gain
    left, ours = (
        float((entry.written(moved) - entry.written(y) - wanted).norm())
        for moved in (naive, y + entry.pulled_back(y, wanted))
    )
    assert left > 2 * float(wanted.norm())
    assert ours < float(wanted.norm())


@LAW
@given(SIZES)
def test_what_can_be_written_is_written(sizes):
    """What an output of the same length reaches: exactly, as staying loses its weight."""
    d, n, seed = sizes
    gain = randn(d, seed=seed).sign() * (1 + 0.4 * randn(d, seed=seed + 7).sin())
    y, other = randn(n, d, seed=seed + 1), randn(n, d, seed=seed + 2)
    other = other * (y.norm(dim=1) / other.norm(dim=1))[:, None]
    entry = normed(gain)
    wanted = entry.written(other) - entry.written(y)
    reached = entry.written(y + entry.pulled_back(y, wanted))
    torch.testing.assert_close(reached, entry.written(other), rtol=0, atol=2e-2)
    start = y / y.norm(dim=1, keepdim=True)
    exact = nearest_on_ellipsoid(
        gain.expand(n, d), gain * other / y.norm(dim=1)[:, None], start, stay=1e-13
    )
    torch.testing.assert_close(exact, other / other.norm(dim=1, keepdim=True), rtol=0, atol=1e-5)


@LAW
@given(SIZES, LENGTHS, st.sampled_from([1e-6, 1e-4, 1e-1]))
def test_the_point_is_the_nearest(sizes, length, stay):
    """No other unit vector does better: neither random ones, nor what descent makes of them."""
    d, n, seed = sizes
    axes, target = uneven(d, seed).expand(n, d), length * randn(n, d, seed=seed + 1)
    start = torch.nn.functional.normalize(randn(n, d, seed=seed + 2), dim=1)
    weight = stay * axes.square().mean(dim=1)

    def objective(v):
        off = (axes * v - target).square().sum(-1)
        return off + weight * (v - start).square().sum(-1)

    found = nearest_on_ellipsoid(axes, target, start, stay=stay)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(n).double())
    best = objective(found)
    others = torch.nn.functional.normalize(randn(60, n, d, seed=seed + 3), dim=-1)
    near = torch.nn.functional.normalize(found + 0.01 * others, dim=-1)
    for v in (others, near, start[None]):
        assert bool((objective(v) >= best - 1e-9 * (1 + best)).all())


def test_control_a_point_beside_the_nearest_is_noticed():
    axes, target = uneven(6, 1)[None], randn(1, 6, seed=2)
    start = torch.nn.functional.normalize(randn(1, 6, seed=3), dim=1)
    found = nearest_on_ellipsoid(axes, target, start, stay=1e-4)
    beside = torch.nn.functional.normalize(found + 0.01 * randn(1, 6, seed=4), dim=1)
    off = [(axes * v - target).square().sum() for v in (found, beside)]
    assert float(off[1] - off[0]) > 1e-7


@pytest.mark.parametrize("gain", [torch.zeros(5), torch.tensor([2.0, 0.0, 1.0, 0.0, 1e-9])])
def test_zeros_stay_numbers(gain):
    """Dead gains, dead outputs: what cannot be had is left alone, and the rest is had."""
    gain = gain.double()
    entry, y = normed(gain), randn(3, 5, seed=1)
    y[1] = 0.0
    wanted = 0.3 * randn(3, 5, seed=2)
    change = entry.pulled_back(y, wanted)
    assert bool(change.isfinite().all())
    assert float(change[1].norm()) == 0.0
    if float(gain.norm()) == 0.0:
        assert float(change.norm()) == 0.0
    else:
        after = entry.written(y + change) - entry.written(y)
        assert float((after[0] - wanted[0]).norm()) < float(wanted[0].norm())


@LAW
@given(SIZES)
def test_nothing_wanted_is_nothing_changed(sizes):
    d, n, seed = sizes
    gain, y = uneven(d, seed), randn(n, d, seed=seed + 1)
    gain[0] = 0.0
    change = normed(gain).pulled_back(y, torch.zeros(n, d).double())
    torch.testing.assert_close(change, torch.zeros_like(change), rtol=0, atol=1e-10)


@LAW
@given(SIZES, st.floats(0.05, 4.0))
def test_a_scale_is_undone(sizes, factor):
    d, n, seed = sizes
    entry, y, wanted = Scaled(factor), randn(n, d, seed=seed), randn(n, d, seed=seed + 1)
    after = entry.written(y + entry.pulled_back(y, wanted))
    torch.testing.assert_close(after, entry.written(y) + wanted)
