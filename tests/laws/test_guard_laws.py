"""What REVIVE promises, on drawn shapes and spectra, each law beside a control that breaks it."""

import pytest
import torch
from hypothesis import given
from law_matrices import LAW, cases, healthy, matrix, orthogonal, randn

from revive.guards import (
    BottomSubspace,
    LeftOnly,
    NoGuard,
    NormMatched,
    RandomSubspace,
    Revive,
    RightOnly,
)
from revive.linalg.basis import SpectralBasis
from revive.linalg.lowrank import LowRank

WRONG_GUARDS = [
    NoGuard(),
    NormMatched(energy=0.3),
    RandomSubspace(energy=0.3),
    BottomSubspace(energy=0.3),
    LeftOnly(energy=0.3),
    RightOnly(energy=0.3),
]


def fitted(case, guard=Revive):
    return guard(energy=case.energy).protector(case.weight, "site")


def leak(basis, update):
    """Largest entry in a protected block, over the largest entry that was asked for."""
    dense = update.dense() if isinstance(update, LowRank) else update
    touched = [basis.u.T @ dense.double(), dense.double() @ basis.v]
    return max((float(t.abs().max()) for t in touched if t.numel()), default=0.0)


def truth(weight, k, dense):
    """The definition: full SVD with complete U and V, alpha zeroed where i < k or j < k."""
    u, _, vh = torch.linalg.svd(weight, full_matrices=True)
    alpha = u.T @ dense @ vh.T
    alpha[:k] = 0
    alpha[:, :k] = 0
    return u @ alpha @ vh


@LAW
@given(cases())
def test_nothing_is_left_in_a_protected_block(case):
    protector = fitted(case)
    update = case.update()
    assert leak(protector.basis, protector.filter(update).update) <= 1e-12 * update.fro()


@LAW
@given(cases())
def test_nothing_is_left_in_fp32_but_its_own_rounding(case):
    protector = fitted(case)
    update = case.update(dtype=torch.float32)
    kept = protector.filter(update).update
    assert kept.left.dtype == torch.float32
    assert leak(protector.basis, LowRank(kept.left.double(), kept.right.double())) <= 1e-6 * max(
        update.fro(), 1.0
    )


@pytest.mark.parametrize("guard", WRONG_GUARDS, ids=lambda g: g.name)
def test_control_other_guards_leave_something(guard):
    case = healthy()
    right = fitted(case)
    update = case.update()
    kept = guard.protector(case.weight, "site").filter(update).update
    assert leak(right.basis, kept) > 0.01 * update.fro()


@LAW
@given(cases())
def test_filtering_twice_is_filtering_once(case):
    protector = fitted(case)
    once = protector.filter(case.update()).update
    again = protector.filter(once)
    torch.testing.assert_close(again.update.dense(), once.dense(), rtol=0, atol=1e-12)
    if once.fro() > 1e-9:
        assert again.removed.total <= 1e-20


def test_control_shrinking_twice_shrinks_twice():
    case = healthy()
    protector = NormMatched(energy=case.energy).protector(case.weight, "site")
    once = protector.filter(case.update()).update
    assert protector.filter(once).update.fro() < 0.99 * once.fro()


@LAW
@given(cases())
def test_an_update_outside_passes_unchanged(case):
    basis = fitted(case).basis
    raw = case.update()
    outside = LowRank(
        raw.left - basis.u @ (basis.u.T @ raw.left), raw.right - (raw.right @ basis.v) @ basis.v.T
    )
    kept = fitted(case).filter(outside).update
    torch.testing.assert_close(kept.dense(), outside.dense(), rtol=0, atol=1e-12)


def test_control_an_update_outside_does_not_pass_a_random_subspace():
    case = healthy()
    outside = fitted(case).filter(case.update()).update
    kept = fitted(case, RandomSubspace).filter(outside).update
    assert (kept + outside.scaled(-1.0)).fro() > 0.1 * outside.fro()


@LAW
@given(cases())
def test_never_longer(case):
    update = case.update()
    for guard in (Revive, NormMatched, RandomSubspace, LeftOnly, RightOnly):
        assert fitted(case, guard).filter(update).update.fro() <= update.fro() * (1 + 1e-12)


def test_control_a_basis_that_is_not_orthonormal_lengthens():
    case = healthy()
    basis = fitted(case).basis
    skewed = basis.with_directions(2 * basis.u, 2 * basis.v)
    inside = LowRank(basis.u, basis.v.T)
    assert skewed.project_out(inside).fro() > 2 * inside.fro()


@LAW
@given(cases())
def test_the_dominant_map_is_kept_for_ever(case):
    protector = fitted(case)
    basis = protector.basis
    weight = case.weight.clone()
    for number in range(12):
        weight += protector.filter(case.update(number=number)).update.dense()
    s = basis.s[: basis.rank]
    scale = 1e-12 * (1 + float(weight.norm()))
    torch.testing.assert_close(weight @ basis.v, basis.u * s, rtol=0, atol=scale + 1e-10)
    torch.testing.assert_close(basis.u.T @ weight, (basis.v * s).T, rtol=0, atol=scale + 1e-10)
    torch.testing.assert_close(weight @ basis.v, case.weight @ basis.v, rtol=0, atol=scale)


@pytest.mark.parametrize("guard", WRONG_GUARDS, ids=lambda g: g.name)
def test_control_other_guards_lose_the_dominant_map(guard):
    case = healthy()
    basis = fitted(case).basis
    protector = guard.protector(case.weight, "site")
    weight = case.weight.clone()
    for number in range(12):
        weight += protector.filter(case.update(number=number)).update.dense()
    s = basis.s[: basis.rank]
    lost_right = float((weight @ basis.v - basis.u * s).norm())
    lost_left = float((basis.u.T @ weight - (basis.v * s).T).norm())
    assert lost_right + lost_left > 1.0


def test_control_the_current_weight_s_basis_loses_the_original_map():
    case = healthy()
    original = fitted(case).basis
    weight = case.weight.clone()
    for number in range(12):
        current = Revive(energy=case.energy, basis="current").protector(weight, "site")
        weight += current.filter(case.update(number=number)).update.dense()
    assert original.tail_ratio(weight) > 1.0
    s = original.s[: original.rank]
    assert float((weight @ original.v - original.u * s).norm()) > 1.0


@LAW
@given(cases())
def test_factors_and_the_definition_agree(case):
    protector = fitted(case)
    update = case.update()
    expected = truth(case.weight, protector.basis.rank, update.dense())
    tolerance = 1e-10 * (1 + update.fro())
    kept = protector.filter(update).update.dense()
    torch.testing.assert_close(kept, expected, rtol=0, atol=tolerance)
    dense = protector.filter_dense(update.dense())
    torch.testing.assert_close(dense, expected, rtol=0, atol=tolerance)


def test_control_one_direction_fewer_is_another_filter():
    case = healthy()
    protector = fitted(case)
    update = case.update().dense()
    fewer = truth(case.weight, protector.basis.rank - 1, update)
    assert float((protector.filter_dense(update) - fewer).norm()) > 0.1


@pytest.mark.parametrize("energy", [0.0, 0.3, 0.9])
def test_the_null_space_of_a_wide_weight_is_kept(energy):
    """The compact-basis trap: the part of dW in the null space of W must survive."""
    case = healthy(energy=energy)
    out, inner = case.weight.shape
    null = torch.linalg.svd(case.weight, full_matrices=True)[2][out:].T
    basis = fitted(case).basis
    u, s, vh = torch.linalg.svd(case.weight, full_matrices=False)
    free_rows = u[:, basis.rank :]
    update = LowRank(free_rows @ randn(out - basis.rank, 3, seed=1), randn(3, inner - out) @ null.T)
    kept = fitted(case).filter(update).update
    torch.testing.assert_close(kept.dense(), update.dense(), rtol=0, atol=1e-12)
    assert len(s) == out
    # Negative control: rebuilding from the tail of the compact SVD deletes it.
    tail_u, tail_v = u[:, basis.rank :], vh[basis.rank :].T
    rebuilt = tail_u @ (tail_u.T @ update.dense() @ tail_v) @ tail_v.T
    assert float(rebuilt.norm()) < 1e-12 * update.fro()


def rotated(rotation_seed):
    """One weight written with two bases of the same degenerate singular subspaces."""
    out, inner = 9, 12
    s = torch.tensor([3.0, 3.0, 3.0, 2.0, 2.0, 1.0, 1.0, 1.0, 0.5], dtype=torch.float64)
    u, v = orthogonal(out, 1), orthogonal(inner, 2)[:, :out]
    blocks = [orthogonal(n, rotation_seed + n) for n in (3, 2, 3, 1)]
    turn = torch.block_diag(*blocks)
    return (u * s) @ v.T, ((u @ turn) * s) @ (v @ turn).T


@pytest.mark.parametrize("energy", [0.1, 0.3, 0.55, 0.8])
@pytest.mark.parametrize("seed", [3, 4])
def test_signs_and_rotations_inside_ties_do_not_matter(energy, seed):
    first, second = rotated(seed)
    update = randn(9, 12, seed=7)
    one = Revive(energy=energy).protector(first, "site")
    two = Revive(energy=energy).protector(second, "site")
    assert one.basis.rank == two.basis.rank
    assert one.basis.gap > 0.1
    torch.testing.assert_close(
        one.filter_dense(update), two.filter_dense(update), rtol=0, atol=1e-9
    )


def test_control_a_cut_inside_a_tie_depends_on_rounding():
    first, second = rotated(3)
    update = randn(9, 12, seed=7)
    one, two = (SpectralBasis.fit(w, rank=2) for w in (first, second))
    assert one.gap < 1e-9
    assert float((one.project_out(update) - two.project_out(update)).norm()) > 0.01


@LAW
@given(cases())
def test_norm_matched_has_the_norm_revive_leaves(case):
    update = case.update()
    matched = fitted(case, NormMatched)
    kept = matched.filter(update)
    expected = fitted(case).filter(update).update.fro()
    assert kept.update.fro() == pytest.approx(expected, rel=1e-10, abs=1e-12)
    dense = matched.filter_dense(update.dense())
    torch.testing.assert_close(dense, kept.update.dense(), rtol=0, atol=1e-9)


def test_control_norm_matched_has_another_direction():
    case = healthy()
    update = case.update()
    matched = fitted(case, NormMatched).filter(update).update
    guarded = fitted(case).filter(update).update
    assert (matched + guarded.scaled(-1.0)).fro() > 0.1 * guarded.fro()


@LAW
@given(cases())
def test_controls_protect_as_many_directions(case):
    k = fitted(case).basis.rank
    for guard in (RandomSubspace, BottomSubspace, NormMatched, LeftOnly, RightOnly):
        result = fitted(case, guard).filter(case.update())
        assert result.rank == k


def test_random_subspaces_are_seeded_by_site_and_differ_from_revive():
    case = healthy()
    guard = RandomSubspace(energy=case.energy)
    one, again = (guard.protector(case.weight, "a").basis for _ in range(2))
    other = guard.protector(case.weight, "b").basis
    reseeded = RandomSubspace(energy=case.energy, seed=1).protector(case.weight, "a").basis
    assert torch.equal(one.u, again.u)
    assert torch.equal(one.v, again.v)
    for different in (other, reseeded, fitted(case).basis):
        assert one.overlap(different).left < 0.99
        assert one.overlap(different).right < 0.99


@LAW
@given(cases())
def test_block_shares_are_the_dense_ones_and_sum_to_what_was_removed(case):
    update = case.update()
    u, _, vh = torch.linalg.svd(case.weight, full_matrices=True)
    basis = fitted(case).basis
    k = basis.rank
    alpha = (u.T @ update.dense() @ vh.T).square()
    total = float(alpha.sum())
    expected = (alpha[:k, :k], alpha[:k, k:], alpha[k:, :k], alpha[k:, k:])
    shares = basis.block_shares(update)
    actual = (shares.uk_vk, shares.uk_rest, shares.rest_vk, shares.rest_rest)
    assert actual == pytest.approx(tuple(float(e.sum()) / total for e in expected), abs=1e-9)
    assert shares.total == pytest.approx(1.0)
    for guard in (Revive, LeftOnly, RightOnly, RandomSubspace, BottomSubspace, NormMatched):
        result = fitted(case, guard).filter(update)
        lost = 1.0 - (result.update.fro() / update.fro()) ** 2
        assert result.removed.total == pytest.approx(lost, abs=1e-9)
        assert 0.0 <= result.removed.total <= 1.0 + 1e-12


def test_control_block_shares_of_another_basis_differ():
    case = healthy()
    update = case.update()
    right, wrong = fitted(case).basis, fitted(case, RandomSubspace).basis
    assert abs(right.block_shares(update).uk_vk - wrong.block_shares(update).uk_vk) > 1e-3


@pytest.mark.parametrize(("guard", "side"), [(LeftOnly, "left"), (RightOnly, "right")])
def test_one_sided_guards_are_revive_s_one_sided_form(guard, side):
    case = healthy()
    update = case.update()
    one = fitted(case, guard).filter(update).update.dense()
    two = Revive(energy=case.energy, sides=side).protector(case.weight, "x").filter(update).update
    assert torch.equal(one, two.dense())
    basis = fitted(case).basis
    clean, touched = basis.u.T @ one, one @ basis.v
    if side == "right":
        clean, touched = touched, clean
    assert float(clean.norm()) < 1e-12
    assert float(touched.norm()) > 0.1


def test_the_zero_update_and_the_empty_one():
    case = healthy()
    for guard in (Revive, NormMatched, RandomSubspace, NoGuard):
        for update in (LowRank.zeros(10, 14), case.update().scaled(0.0)):
            result = fitted(case, guard).filter(update)
            assert result.update.fro() == 0.0
            assert result.removed.total == 0.0


def test_a_weight_without_directions_protects_nothing():
    protector = Revive(energy=1.0).protector(matrix(4, 5, [0.0]), "site")
    assert protector.basis.rank == 0
