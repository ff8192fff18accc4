"""Half products and leading eigenvectors, against whole ones; what the check refuses is wrong."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from law_matrices import LAW, cases, matrix, randn

from revive.guards.revive import Revive
from revive.linalg import half_product
from revive.linalg.basis import SpectralBasis
from revive.linalg.eigen import leading_eigenvectors
from revive.linalg.energy import rank_for_energy
from revive.linalg.svd import top_k_svd

SHAPES = [(1, 1), (1, 6), (2, 2), (3, 8), (40, 40), (64, 150)]


def laid_out(a):
    """A matrix in both layouts, and as a part of a larger one."""
    wide = torch.zeros(a.shape[0] + 3, a.shape[1] + 5, dtype=a.dtype)
    wide[:-3, :-5] = a
    return a.contiguous(), a.T.contiguous().T, wide[:-3, :-5]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("n", "d"), [(0, 4), (1, 1), (5, 3), (7, 300), (50, 130)])
def test_half_a_product_is_that_half_and_its_mirror_the_rest(n, d, dtype):
    start = randn(d, d, seed=1).to(dtype)
    start = start + start.T
    for x in laid_out(randn(n, d).to(dtype)):
        total = start.clone()
        half_product.add_upper_half(total, x)
        whole = start + x.T @ x
        torch.testing.assert_close(total.triu(), whole.triu(), rtol=1e-5, atol=1e-5)
        half_product.mirror(total)
        torch.testing.assert_close(total, whole, rtol=1e-5, atol=1e-5)
        assert torch.equal(total, total.T)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", ["random", "zero", "ones", "identity"])
def test_all_values_and_the_leading_vectors(shape, kind):
    m, n = shape
    made = {
        "random": randn(m, n),
        "zero": torch.zeros(m, n).double(),
        "ones": torch.ones(m, n).double(),
        "identity": torch.eye(m, n).double(),
    }[kind]
    for a in laid_out(made):
        gram = a @ a.T
        truth = torch.linalg.eigvalsh(gram).flip(0)
        scale = max(1.0, float(truth[0]))
        for k in range(0, m + 1, max(1, m // 4)):
            asked = []
            found = leading_eigenvectors(a, lambda s, k=k, asked=asked: asked.append(s) or k)
            assert len(asked) == 1
            torch.testing.assert_close(found.values, truth, rtol=0, atol=1e-12 * scale)
            assert found.vectors.shape == (m, k)
            error = gram @ found.vectors - found.vectors * found.values[:k]
            assert error.numel() == 0 or float(error.abs().max()) <= 1e-11 * scale
            inner = found.vectors.T @ found.vectors
            torch.testing.assert_close(inner, torch.eye(k).double(), rtol=0, atol=1e-11)


def test_no_vector_is_lost_in_a_cluster():
    s = [2.0 + 1e-13 * i for i in range(30)] + [1.0] * 30
    a = matrix(60, 90, s, seed=3)
    found = leading_eigenvectors(a, lambda _: 30).vectors
    truth = torch.linalg.svd(a)[0][:, :30]
    torch.testing.assert_close(found @ found.T, truth @ truth.T, rtol=0, atol=1e-11)


@LAW
@given(cases())
def test_what_is_accepted_is_within_its_bound_of_a_full_svd(case):
    fast = top_k_svd(case.weight, energy=case.energy)
    full = top_k_svd(case.weight, energy=case.energy, method="full")
    k = fast.rank
    assert k == full.rank
    following = float(full.s[k]) if k < len(full.s) else 0.0
    if k == 0 or float(full.s[k - 1]) == following:
        return
    scale = float(full.s[0])
    # Rounding of the full SVD itself is the second term.
    gap = (float(full.s[k - 1]) - following) / scale
    bound = (math.sqrt(2 * k) * fast.residual + 1e-14 * len(full.s)) / gap
    for found, truth in ((fast.u, full.u), (fast.v, full.v)):
        apart = torch.linalg.matrix_norm(found - truth @ (truth.T @ found), ord=2)
        assert float(apart) <= bound + 1e-14


def test_what_the_check_refuses_would_have_protected_something_else():
    """Negative control: below 1e-8 of the largest a Gram matrix tells nothing."""
    s = [1.0] + [1e-9 * 0.9**i for i in range(30)]
    weight = matrix(31, 50, s, seed=2)
    truth = torch.linalg.svd(weight)[2][:6].T
    forced = top_k_svd(weight, 6, method="gram")
    checked = top_k_svd(weight, 6)
    assert checked.method == "full"

    def apart(v):
        return float(torch.linalg.matrix_norm(v - truth @ (truth.T @ v), ord=2))

    assert apart(forced.v) > 0.1
    assert apart(checked.v) < 1e-5


@LAW
@given(
    st.integers(0, 1000), st.sampled_from([1e-3, 0.1, 3.0]), st.sampled_from([(60, 90), (90, 60)])
)
def test_the_current_basis_is_that_of_a_full_svd_after_every_batch(seed, size, shape):
    weight = matrix(*shape, [3.0 * 0.97**i for i in range(60)], seed).float()
    guard = Revive(energy=0.3, basis="current")
    protector = guard.protector(weight, "site")
    for batch in range(4):
        step = randn(shape[0], 5, seed=seed + batch) @ randn(5, shape[1], seed=seed + 9 + batch)
        weight = weight + protector.filter_dense(size * step.float() / 30)
        protector = guard.refitted(protector, weight, "site")
        found = protector.basis
        u, s, vh = torch.linalg.svd(weight.double(), full_matrices=False)
        k = rank_for_energy(s, 0.3, shape)
        assert found.rank == k
        torch.testing.assert_close(found.u @ found.u.T, u[:, :k] @ u[:, :k].T, rtol=0, atol=1e-7)
        torch.testing.assert_close(found.v @ found.v.T, vh[:k].T @ vh[:k], rtol=0, atol=1e-7)


def test_the_basis_depends_on_the_weight_alone():
    """A resumed run has no batch before: whatever was fitted last must leave no trace."""
    first, second = randn(50, 80).float(), randn(50, 80, seed=1).float()
    guard = Revive(energy=0.3, basis="current")
    through = guard.refitted(guard.protector(first, "site"), second, "site").basis
    fresh = SpectralBasis.fit(second, energy=0.3)
    assert torch.equal(through.u, fresh.u)
    assert torch.equal(through.v, fresh.v)
