"""The filter against an independent fp64 implementation: full SVD, alpha zeroed."""

import json

import pytest
import torch
from golden_weights import weights
from goldens import MODELS, close, golden
from safetensors.torch import load_file

from revive.guards import Revive
from revive.linalg.lowrank import LowRank
from shared import shared


@pytest.mark.parametrize("energy", [0.1, 0.2])
@pytest.mark.parametrize("model", MODELS)
def test_protected_ranks_and_spectra_match(model, energy):
    report = json.loads(shared("goldens", model, "revive.json").read_text())
    for layer, weight in weights(model).items():
        expected = report[f"l{layer}.tau{energy}"]
        basis = Revive(energy=energy).protector(weight, "site").basis
        assert basis.rank == expected["k"]
        assert basis.s[: len(expected["s_head"])].tolist() == pytest.approx(expected["s_head"])
        share = basis.s.cumsum(0) / basis.s.sum()
        assert float(share[basis.rank - 1]) == pytest.approx(expected["cum_at_k"])
        assert float(share[basis.rank - 2]) == pytest.approx(expected["cum_at_km1"])


@pytest.mark.parametrize("energy", [0.1, 0.2])
@pytest.mark.parametrize("model", MODELS)
def test_guarded_updates_match(model, energy):
    guarded = load_file(shared("goldens", model, "revive.safetensors"))
    report = json.loads(shared("goldens", model, "revive.json").read_text())
    updates, _ = golden(model, "fp64", "MEMIT")
    compared = 0
    for layer, weight in weights(model).items():
        protector = Revive(energy=energy).protector(weight, "site")
        for batch in (1, 2):
            name = f"b{batch}.l{layer}"
            dense = updates[f"{name}.dW"]
            norms = report[f"{name}.tau{energy}"]
            result = protector.filter(LowRank(dense, torch.eye(dense.shape[1]).to(dense)))
            assert result.update.fro() == pytest.approx(norms["norm_guarded"])
            removed = 1 - (norms["norm_guarded"] / norms["norm_dW"]) ** 2
            assert result.removed.total == pytest.approx(removed, abs=1e-9)
            expected = guarded.get(f"{name}.tau{energy}.dW_guarded")
            if expected is not None:
                close(protector.filter_dense(dense), expected, 1e-11)
                close(result.update.dense(), expected, 1e-11)
                compared += 1
    assert compared > 0
