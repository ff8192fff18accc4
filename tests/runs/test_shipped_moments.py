"""Second moments that come with the package: what packing keeps, and when they are taken."""

import pytest
import torch
from safetensors import safe_open

from revive.moments.shipped_moments import FOLDER, pack, shipped_moments, unpack


def moment(d=40, n=400):
    rng = torch.Generator().manual_seed(0)
    keys = torch.randn(n, d, generator=rng, dtype=torch.float64) * torch.linspace(3, 0.1, d)
    return keys.T @ keys / n


def test_packing_keeps_the_leading_directions_and_the_whole_diagonal():
    c = moment()
    found = unpack(pack(c, 20))
    torch.testing.assert_close(found.diagonal(), c.diagonal(), rtol=1e-3, atol=1e-3)
    values, vectors = torch.linalg.eigh(c)
    top = vectors[:, -5:]
    torch.testing.assert_close(found @ top, c @ top, rtol=0, atol=2e-2 * float(values[-1]))
    assert float(torch.linalg.eigvalsh(found)[0]) > 0, "still definite"
    # Negative control: fewer directions keep less.
    worse = unpack(pack(c, 2))
    assert torch.linalg.matrix_norm(worse - c) > 2 * torch.linalg.matrix_norm(found - c)


def test_every_direction_kept_is_c_itself():
    c = moment()
    error = torch.linalg.matrix_norm(unpack(pack(c, 40)) - c) / torch.linalg.matrix_norm(c)
    assert float(error) < 1e-3


class Site:
    def __init__(self, layer):
        self.key = f"model.layers.{layer}.mlp.down_proj.weight"


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.safetensors")), ids=lambda p: p.stem)
def test_they_are_taken_for_their_model_and_blocks_alone(path):
    with safe_open(path, framework="pt") as file:
        fingerprint, tokens = (file.metadata()[k] for k in ("fingerprint", "tokens"))
        assert file.metadata()["about"]
    found = shipped_moments(fingerprint, [Site(4), Site(8)])
    assert {m.count for m in found.values()} == {int(tokens)}
    for one in found.values():
        assert float(torch.linalg.eigvalsh(one.value())[0]) > 0
    assert shipped_moments(fingerprint, [Site(8), Site(9)]) == {}
    assert shipped_moments("another model", [Site(8)]) == {}
