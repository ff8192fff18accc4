"""What a guard takes out of one edit's update, beside plain sums over that edit's dense parts."""

import pytest
import torch
from tiny import tiny_model

from revive.data.edits import Edit
from revive.editors.base import BatchOutcome, EditMethod, WeightUpdate
from revive.engine.engine import Engine
from revive.guards.controls import NoGuard
from revive.guards.fitted import FittedGuard
from revive.guards.revive import Revive
from revive.linalg.lowrank import LowRank
from revive.models.family import family_of
from revive.models.ledger import Ledger
from revive.options.editors import EditorOptions

OWNERS = {0: (0, 2, 2), 1: (2, 0, 1)}
"""Of every column, in each of two proposals; edit 1 has a part in one of them only."""


class Scripted(EditMethod[EditorOptions]):
    """Proposes what it was given, twice at the first site."""

    name, paper, summary = "scripted", "none", "proposes what it was given"

    def __init__(self, proposed):
        super().__init__(EditorOptions())
        self._proposed = proposed

    def prepare(self, context):
        del context

    def edit(self, batch, context):
        for update in self._proposed:
            applied = yield update
            assert applied.site == update.site
        return BatchOutcome()


def ready(guard, owners):
    """An engine of a tiny model, and the updates that it is going to be proposed."""
    model = tiny_model("llama", dtype=torch.float32)
    sites = family_of(model).sites(model, layers=[0, 1])
    torch.manual_seed(0)
    proposed = [
        WeightUpdate(site, LowRank(torch.randn(d_out, 3), torch.randn(3, d_in)), owners(n))
        for n, site in ((0, sites[0]), (1, sites[1]), (1, sites[0]))
        for d_out, d_in in (site.shape,)
    ]
    ledger = Ledger(model, sites)
    fitted = FittedGuard(guard, {s.key: ledger.original(s.key).clone() for s in sites})
    return Engine(None, ledger, Scripted(proposed), fitted), proposed, fitted


EDITS = tuple(Edit("{} is", name, "here", id=name) for name in "abc")


@pytest.mark.parametrize("when", ["layer", "batch"])
def test_it_is_the_share_of_the_edits_own_energy_that_is_missing(when):
    engine, proposed, fitted = ready(Revive(energy=0.3, when=when), OWNERS.__getitem__)
    asked, kept = torch.zeros(3), torch.zeros(3)
    for update in proposed:
        passed = fitted.filter_factors(update.factors, update.site.key, weight=None).update
        for column, owner in enumerate(update.owners):
            for total, factors in ((asked, update.factors), (kept, passed)):
                part = torch.outer(factors.left[:, column], factors.right[column])
                total[owner] += part.square().sum()
    found = engine.apply(EDITS).withheld
    assert list(found) == ["a", "b", "c"]
    wanted = (1 - kept / asked).tolist()
    assert list(found.values()) == pytest.approx(wanted, abs=1e-5)
    assert 0.05 < min(wanted) < max(wanted) < 0.95
    assert max(wanted) - min(wanted) > 0.01


def test_without_a_guard_nothing_is_missing():
    engine, _, _ = ready(NoGuard(), OWNERS.__getitem__)
    assert engine.apply(EDITS).withheld == pytest.approx(dict.fromkeys("abc", 0.0), abs=1e-6)


def test_an_update_that_belongs_to_no_edit_says_nothing():
    engine, _, _ = ready(Revive(energy=0.3), lambda _n: None)
    assert engine.apply(EDITS).withheld == {}
