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


def test_the_least_eigenvalue_survives_what_all_keys_share():
    """Rounded to float32, products along one long direction would drown it."""
    generator = torch.Generator().manual_seed(0)
    keys = 1e-3 * torch.randn(400, 30, generator=generator)
    keys[:, -1] = 0.0
    keys = keys + 30.0
    wide, narrow = SecondMoment(30), SecondMoment(30, torch.float32)
    truth = keys.double().T @ keys.double() / len(keys)
    for some in keys.split(50):
        wide.update(some)
        narrow.update(some)
    least, found, control = (
        float(torch.linalg.eigvalsh(m.double())[0]) for m in (truth, wide.value(), narrow.value())
    )
    assert found == pytest.approx(least, rel=1e-3)
    assert least > 0
    assert control < 0
