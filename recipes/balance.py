"""Why filtering after the solve can hurt: what one batch's update does to ordinary inputs.

    python recipes/balance.py

MEMIT's lambda C makes an update answer ordinary inputs weakly by letting its parts cancel there.
A filter that deletes some input directions from the finished update makes it shorter, but may take
one part of such a cancellation and leave the other. The table shows, for one fresh batch on the lab
model and the first edited projection, where every guard is given the same proposal: the update's
Frobenius norm and tr(dW C dW^T), its mean squared response to ordinary inputs, each over what
the unguarded update has; and the share of the wanted shift that the batch's own keys still get.
"""

import argparse
from typing import Any

import torch

from revive.assembly.build import build, load_from_spec
from revive.data.order import batches, order_edits
from revive.editors.key_sweep import KeySweep
from revive.editors.target_editor import encode_batch
from revive.io.cache import cache_folder
from revive.spec.edit_stream import read_edits
from revive.spec.parsing import parse_spec, read_model_config, resolve
from revive.spec.schema import RunSpec

GUARDS: dict[str, dict[str, Any]] = {
    "none": {"name": "none"},
    "revive": {"name": "revive"},
    "left-only": {"name": "left-only"},
    "right-only": {"name": "right-only"},
    "random-subspace": {"name": "random-subspace"},
    "norm-matched": {"name": "norm-matched"},
    "constrained": {"name": "revive", "solve": "constrained"},
}


def spec_of(guard: dict[str, Any], energy: float, ridge: float, seed: int) -> RunSpec:
    """One batch of 64 edits under one guard."""
    data: dict[str, object] = {
        "model": {"name": "lab", "precision": "fast"},
        "edits": {"path": "lab", "limit": 64, "batch_size": 64, "seed": seed},
        "editor": {"name": "memit", "ridge": ridge},
        "guard": guard if guard["name"] == "none" else {**guard, "energy": energy},
        "threads": 1,
    }
    return resolve(parse_spec(data, "balance"), read_model_config("lab"))


def measure(guard: dict[str, Any], energy: float, ridge: float, seed: int) -> tuple[float, ...]:
    """Norm, response to ordinary inputs, and mean shift of the batch's keys, first site."""
    spec = spec_of(guard, energy, ridge, seed)
    edits = read_edits(spec).edits
    batch = batches(order_edits(edits, spec.edits.order, seed), 64)[0]
    engine = build(spec, load_from_spec(spec.model), batch, cache=cache_folder()).engine
    context = engine.context
    site = context.sites[0]
    rows, _ = encode_batch(batch, context)
    keys = KeySweep(context.runner, list(rows.values()), site.layer).keys(site).double()
    update = engine.apply(batch).updates[site.parameter]
    dense = update.left.double() @ update.right.double()
    second = context.moments[site.parameter].value().double()
    response = torch.einsum("oi,ij,oj->", dense, second, dense).item()
    return dense.norm().item(), response, (dense @ keys).norm(dim=0).mean().item()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--energy", type=float, default=0.1)
    parser.add_argument("--ridge", type=float, default=1000.0)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print("| guard | norm | response to ordinary inputs | shift of the batch's keys |")
    print("|---|---|---|---|")
    base: tuple[float, ...] | None = None
    for name, guard in GUARDS.items():
        found = measure(guard, options.energy, options.ridge, options.seed)
        base = found if base is None else base
        cells = " | ".join(f"{a / b:.2f}" for a, b in zip(found, base, strict=True))
        print(f"| {name} | {cells} |")


if __name__ == "__main__":
    main()
