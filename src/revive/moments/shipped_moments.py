"""Second moments that come with the package, for models that many will edit.

A pass over text takes a minute or two of a CPU before a first edit. For the models here it was made
already, over more text than the package carries (`recipes/ship_moments.py`), and is kept in a
compact form: C ~ V diag(s) V^T + diag(d), the leading eigenvectors in float16 and the diagonal of
what they leave. It is taken where a run names no text of its own and edits no other blocks.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from revive.linalg.moments import SecondMoment
from revive.models.site import Site

FOLDER = Path(__file__).resolve().parent.parent / "presets" / "moments"


def pack(moment: Tensor, rank: int) -> dict[str, Tensor]:
    """A compact form of C, `[d, d]`: `vectors` [d, rank] float16, `values` [rank], `rest` [d]."""
    values, vectors = torch.linalg.eigh(moment.double())
    values, vectors = values[-rank:].flip(0), vectors[:, -rank:].flip(1).half()
    kept = (vectors.double().square() * values).sum(dim=1)
    rest = (moment.double().diagonal() - kept).clamp(min=0.0)
    return {
        "vectors": vectors.contiguous(),
        "values": values.float(),
        "rest": rest.float(),
    }


def unpack(packed: Mapping[str, Tensor]) -> Tensor:
    """C from its compact form, float64."""
    vectors = packed["vectors"].double()
    value = (vectors * packed["values"].double()) @ vectors.T
    value.diagonal().add_(packed["rest"].double())
    return value


def shipped_moments(fingerprint: str, sites: Sequence[Site]) -> dict[str, SecondMoment]:
    """The moments of a model's sites, if they all come with the package; else nothing.

    Args:
        fingerprint: Of the model's forward, as loaded.
        sites: Sites whose moments are wanted.
    """
    for path in sorted(FOLDER.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            if file.metadata()["fingerprint"] != fingerprint:
                continue
            names = set(file.keys())
            if not all(f"{site.key}.values" in names for site in sites):
                continue
            count = int(file.metadata()["tokens"])
            return {s.key: _moment(file, s.key, count) for s in sites}
    return {}


def _moment(file: safe_open, key: str, count: int) -> SecondMoment:
    parts = {part: file.get_tensor(f"{key}.{part}") for part in ("vectors", "values", "rest")}
    state = {"sum": unpack(parts) * count, "count": torch.tensor(count)}
    return SecondMoment.from_state(state)
