"""A guard around foreign code that changes experts: every expert's own directions are kept."""

import pytest
import torch
from tiny import EXPERTS, MIXTURES, tiny_model

from revive.errors import NumericalError, SpecError
from revive.guards import Revive
from revive.models.family import family_of, read_weight


def outside(basis, change):
    wide = change.double()
    parts = (basis.u.T @ wide).norm(), (wide @ basis.v).norm()
    return float(max(parts) / wide.norm())


def weights(model):
    return {s.key: read_weight(model, s) for s in family_of(model).sites(model)}


def disturb(model):
    torch.manual_seed(5)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))


@pytest.mark.parametrize("name", sorted(MIXTURES))
def test_every_expert_is_protected(name):
    model = tiny_model(name, dtype=torch.float32)
    guard, before = Revive(energy=0.2).fit(model), weights(model)
    assert set(guard.keys) == set(before)
    with guard.protect(model):
        disturb(model)
    after = weights(model)
    for key in before:
        assert outside(guard.basis(key), after[key] - before[key]) < 1e-4, key
    disturb(model)  # the control: unguarded
    assert all(outside(guard.basis(k), w - after[k]) > 1e-2 for k, w in weights(model).items())


def test_every_optimizer_step_is_filtered():
    model = tiny_model("mixtral", dtype=torch.float32)
    guard, before = Revive(energy=0.2).fit(model), weights(model)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    with guard.attach(optimizer):
        for _ in range(3):
            optimizer.zero_grad()
            logits = model(torch.arange(20)[None]).logits
            logits.log_softmax(-1)[..., 7].mean().neg().backward()
            optimizer.step()
    after = weights(model)
    moved = [k for k in before if not torch.equal(before[k], after[k])]
    assert len(moved) > EXPERTS
    for key in moved:
        assert outside(guard.basis(key), after[key] - before[key]) < 1e-3, key


def test_one_expert_can_be_named_and_a_whole_parameter_cannot():
    model = tiny_model("mixtral", dtype=torch.float32)
    name = "model.layers.1.mlp.experts.down_proj"
    guard, before = Revive(energy=0.2).fit(model, [f"{name}[2]"]), weights(model)
    with guard.protect(model):
        disturb(model)
    changes = {k: w - before[k] for k, w in weights(model).items() if k.startswith(name)}
    basis = guard.basis(f"{name}[2]")
    assert outside(basis, changes[f"{name}[2]"]) < 1e-4
    assert outside(basis, changes[f"{name}[1]"]) > 1e-2
    with pytest.raises(SpecError, match=r"only matrices.*name\[0\]"):
        Revive().fit(model, [name])
    with pytest.raises(SpecError, match="no matrix 9"):
        Revive().fit(model, [f"{name}[9]"])
    with pytest.raises(SpecError, match="no matrix 0"):
        Revive().fit(model, ["lm_head.weight[0]"])
    with pytest.raises(SpecError, match="no site"):
        Revive().fit(model, ["nowhere[0]"])


def test_nan_in_one_expert_puts_all_of_them_back():
    model = tiny_model("mixtral", dtype=torch.float32)
    guard, before = Revive(energy=0.2).fit(model), weights(model)

    def broken():
        with guard.protect(model):
            disturb(model)
            model.model.layers[1].mlp.experts.down_proj.data[3, 0, 0] = float("nan")

    with pytest.raises(NumericalError, match=r"down_proj\[3\]"):
        broken()
    assert all(torch.equal(w, before[k]) for k, w in weights(model).items())
