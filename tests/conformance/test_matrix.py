"""Every editor with every guard, on every family, in fp32 and bf16: what all of them promise.

The fast form meets each pair of (editor, guard), each (editor, family, dtype) and each (guard,
family, dtype) at least once; `make test-slow` runs the whole product.
"""

import itertools

import pytest
import torch
from matrix import BATCHES, DTYPES, FAMILIES, OWN, engine, parameters, same
from safetensors.torch import load, save

from revive import registry
from revive.models.family import read_weight

EDITORS, GUARDS = registry.names("editors"), registry.names("guards")
WHERE = list(itertools.product(FAMILIES, DTYPES))
PAIRS = {
    (e, g, *WHERE[(i + 3 * j) % len(WHERE)])
    for (i, e), (j, g) in itertools.product(enumerate(EDITORS), enumerate(GUARDS))
}
PAIRS |= {
    (e, GUARDS[(i + w) % len(GUARDS)], *at)
    for i, e in enumerate(EDITORS)
    for w, at in enumerate(WHERE)
}
PAIRS |= {
    (EDITORS[(j + w) % len(EDITORS)], g, *at)
    for j, g in enumerate(GUARDS)
    for w, at in enumerate(WHERE)
}
WHOLE = set(itertools.product(EDITORS, GUARDS, FAMILIES, DTYPES))

# Rank of one batch's update of n edits with t target tokens; others may be as large as the weight.
RANK = {
    **dict.fromkeys(("memit", "memit-seq", "alphaedit", "encore", "emmet", "rome"), lambda n, t: n),
    "nse": lambda n, t: 2 * n,
    "ultraedit": lambda n, t: t,
}
# Guards that cut directions, on the sides named: they keep an update's rank, and leave no leak.
SIDES = {
    "revive": "both",
    "random-subspace": "both",
    "bottom-subspace": "both",
    "left-only": "left",
    "right-only": "right",
}
KEEP_RANK = {*SIDES, "none", "norm-matched", "sphere", "norm-cap"}


def outside(basis, delta, side):
    """Share of a change that lies in the protected directions."""
    wide, norm = delta.double(), float(delta.double().norm())
    left = float((basis.u.T @ wide).norm()) if side in ("both", "left") else 0.0
    right = float((wide @ basis.v).norm()) if side in ("both", "right") else 0.0
    return max(left, right) / norm if norm else 0.0


def conforms(editor, guard, family, dtype, **changed):
    made = engine(editor, guard, family, dtype, **changed)
    ledger, at = made.ledger, f"{editor}, {guard}, {family}, {dtype}"
    before = parameters(made)
    results = []
    for batch in BATCHES:
        result = made.apply(batch)
        results.append(result)
        assert not result.failed, f"{at}: {result.failed}"
        tokens = sum(len(edit.target_new) + 1 for edit in batch)
        for applied in result.applied:
            assert torch.isfinite(applied.factors.left).all(), at
            if editor in RANK and guard in KEEP_RANK:
                assert applied.factors.rank <= RANK[editor](len(batch), tokens), at

    after = parameters(made)
    # Only edited projections change, and they hold what the ledger says.
    edited = {site.parameter for site in ledger.sites.values()}
    for name in before:
        if name not in edited:
            assert torch.equal(before[name], after[name]), f"{at}: {name} was written to"
    moved = [float(ledger.delta(key).norm()) for key in ledger.sites]
    assert max(moved) > 0, f"{at}: nothing was edited"
    for key, site in ledger.sites.items():
        stored = read_weight(made.context.runner.model, site)
        assert torch.equal(stored, ledger.weight(key).to(DTYPES[dtype]).to(stored.dtype)), at

    if guard in SIDES:
        for key in ledger.sites:
            basis = made.guard.basis(key)
            assert basis.rank > 0
            assert outside(basis, ledger.delta(key), SIDES[guard]) <= 1e-5, at
            realised = read_weight(made.context.runner.model, ledger.sites[key]) - ledger.original(
                key
            )
            # Rounding a weight to bf16 leaks: as much as a rounding error may, and no more.
            bound = 1e-5 + _rounding(ledger, key, dtype)
            assert outside(basis, realised, SIDES[guard]) <= bound, at

    # Twice the same; and a resumed stream is the one that nothing stopped.
    again = engine(editor, guard, family, dtype, **changed)
    first = again.apply(BATCHES[0])
    assert same(first.tensors(), results[0].tensors()), f"{at}: not deterministic"
    resumed = engine(editor, guard, family, dtype, **changed)
    stored = {name: tensor.clone() for name, tensor in first.tensors().items()}
    resumed.replay(load(save(stored)))
    assert same(parameters(resumed), parameters(again)), f"{at}: a replay differs"
    second = resumed.apply(BATCHES[1])
    assert same(second.tensors(), results[1].tensors()), f"{at}: a resumed run differs"
    assert same(parameters(resumed), after), f"{at}: a resumed run differs"

    ledger.reset()
    assert same(parameters(made), before), f"{at}: W0 is not restored"


def _rounding(ledger, key, dtype):
    if dtype == "fp32":
        return 1e-4
    weight, delta = ledger.weight(key), ledger.delta(key)
    return 2.0**-8 * float(weight.norm()) / max(float(delta.norm()), 1e-30)


@pytest.mark.parametrize(("editor", "guard", "family", "dtype"), sorted(PAIRS))
def test_what_all_promise(editor, guard, family, dtype):
    conforms(editor, guard, family, dtype)


@pytest.mark.parametrize("family", ["olmo2", "granite"])
@pytest.mark.parametrize("editor", EDITORS)
def test_what_editors_promise_behind_a_norm_or_a_scale(editor, family):
    # Norms make a tiny model's states as long as a large one's: steps must be longer too.
    longer = {} if editor in OWN else {"lr": 1.0}
    conforms(editor, "revive", family, "fp32" if family == "olmo2" else "bf16", **longer)


@pytest.mark.slow
@pytest.mark.parametrize(("editor", "guard", "family", "dtype"), sorted(WHOLE - PAIRS))
def test_what_all_promise_everywhere(editor, guard, family, dtype):
    conforms(editor, guard, family, dtype)


def test_the_law_can_fail():
    """Negative control: without a guard, the same edits do touch the protected directions."""
    made = engine("memit", "none", "llama", "fp32")
    fitted = engine("memit", "revive", "llama", "fp32").guard
    made.apply(BATCHES[0])
    for key in made.ledger.sites:
        assert outside(fitted.basis(key), made.ledger.delta(key), "both") > 1e-3
