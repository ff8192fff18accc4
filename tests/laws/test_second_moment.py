"""Second moments: of the symmetric sum only half is added up, and all of it comes out."""

import pytest
import torch
from law_matrices import randn

from revive.linalg.moments import SecondMoment


@pytest.mark.parametrize("dim", [1, 7, 128, 300, 1100])
def test_it_is_the_mean_of_the_products(dim):
    keys = [randn(5, dim, seed=s) for s in range(3)]
    moment = SecondMoment(dim)
    for some in keys:
        moment.update(some)
    every = torch.cat(keys)
    expected = every.T @ every / len(every)
    torch.testing.assert_close(moment.value(), expected, rtol=0, atol=1e-14 * dim)
    torch.testing.assert_close(moment.value(), moment.value().T, rtol=0, atol=1e-14 * dim)


def test_looking_at_it_changes_nothing_of_what_follows():
    looked, left = SecondMoment(300), SecondMoment(300)
    for seed in range(3):
        keys = randn(4, 300, seed=seed)
        looked.update(keys)
        looked.value()
        left.update(keys)
    assert torch.equal(looked.value(), left.value())
    restored = SecondMoment.from_state(looked.state_dict())
    restored.update(randn(4, 300, seed=9))
    left.update(randn(4, 300, seed=9))
    assert torch.equal(restored.value(), left.value())


def test_a_merge_is_the_moment_of_both():
    a, b, both = SecondMoment(300), SecondMoment(300), SecondMoment(300)
    a.update(randn(4, 300, seed=1))
    b.update(randn(6, 300, seed=2))
    both.update(torch.cat([randn(4, 300, seed=1), randn(6, 300, seed=2)]))
    torch.testing.assert_close(a.merge(b).value(), both.value(), rtol=0, atol=1e-13)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_sums_of_narrow_keys_stay_exact_where_narrow_sums_do_not(dtype):
    wide, narrow = SecondMoment(40), SecondMoment(40, torch.float32)
    truth = torch.zeros(40, 40, dtype=torch.float64)
    for seed in range(300):
        keys = (1.0 + randn(30, 40, seed=seed)).to(dtype)
        truth += keys.double().T @ keys.double()
        wide.update(keys)
        narrow.update(keys)
    truth /= 9000
    error, control = (float((m.value() - truth).abs().max()) for m in (wide, narrow))
    assert error <= 1e-6
    assert control > 2 * error
