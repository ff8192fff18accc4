"""Ways to follow the dominant directions of a weight from batch to batch: what each costs.

    python -m benchmarks.follow --shape 768x3072
    python -m benchmarks.follow --lab

A guard with `basis: current` needs, before every update, the rank that an energy asks for, which
takes the sum of all singular values, and the directions of that many. Four ways, on the same
weights: a full SVD; all eigenvectors of the Gram matrix; all its eigenvalues and the leading
vectors alone, which is what `linalg.svd` does; and the last batch's directions as the start of a
block Krylov search with an error bound, which falls back on a decomposition where the bound does
not hold. The last one is given the rank for nothing. Times are medians; every way is run on every
weight before the next weight.
"""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import median

import torch
from torch import Tensor

from benchmarks.machine import timed
from benchmarks.shapes import SHAPES
from benchmarks.stage import ENERGY, prepare
from revive.guards.revive import Revive
from revive.linalg.basis import SpectralBasis
from revive.linalg.energy import rank_for_energy
from revive.linalg.svd import top_k_svd
from revive.linalg.tracking import Tracked, track

_CPU = torch.device("cpu")
_TOLERANCE = 1e-6
_HEAD, _SLOPE = 4.0, 0.5  # s_i = 1 + 4 / i^0.5: a heavier head than a random matrix


@dataclass
class Account:
    """What one way took, and how far it was from the full SVD.

    Attributes:
        seconds: By weight.
        apart: Largest sine between its directions and those of the full SVD.
        ranks: Weights whose rank it found as the full SVD did.
        fallbacks: Weights that it decomposed after all.
    """

    seconds: list[float] = field(default_factory=list[float])
    apart: float = 0.0
    ranks: int = 0
    fallbacks: int = 0


def main(arguments: list[str] | None = None) -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.follow",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--shape", help="OUTxIN, of a made-up weight with guarded random updates")
    which.add_argument("--lab", action="store_true", help="the lab model, really edited")
    parser.add_argument("--batches", type=int, default=6)
    parser.add_argument("--edits", type=int, default=64, help="rank of an update")
    parser.add_argument("--step", type=float, default=0.02, help="||dW|| / ||W|| of a batch")
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(chosen.threads)
    if chosen.lab:
        sequences = _lab(chosen.batches, chosen.edits)
    else:
        out, inner = (int(x) for x in chosen.shape.split("x"))
        sequences = [_made_up(out, inner, chosen.batches, chosen.edits, chosen.step)]
    print(_table([_followed(weights) for weights in sequences]))
    return 0


def _followed(weights: Iterator[Tensor]) -> dict[str, Account]:
    found = {name: Account() for name in ("full SVD", "all vectors", "leading vectors", "tracked")}
    before: Tracked | None = None
    for number, weight in enumerate(weights):
        print(f"weight {number}", file=sys.stderr, flush=True)
        truth, took = timed(lambda w=weight: _full(w), _CPU)
        k = truth.shape[1]
        guess = None if before is None else before.guess
        if before is None:
            before = track(weight, k, exact_up_to=0)
            continue
        found["full SVD"].seconds.append(took)
        found["full SVD"].ranks += 1
        whole, took = timed(lambda w=weight: _all_vectors(w), _CPU)
        _enter(found["all vectors"], whole, took, truth)
        ours, took = timed(lambda w=weight: top_k_svd(w, energy=ENERGY), _CPU)
        _enter(found["leading vectors"], ours.v, took, truth)
        found["leading vectors"].fallbacks += ours.method == "full"
        if guess is not None and guess.shape[1] < k:
            guess = None  # the rank has outgrown what was kept
        before, took = timed(
            lambda w=weight, g=guess, k=k: track(w, k, g, tolerance=_TOLERANCE, exact_up_to=0), _CPU
        )
        _enter(found["tracked"], before.v, took, truth)
        found["tracked"].fallbacks += before.exact
    return found


def _enter(account: Account, v: Tensor, seconds: float, truth: Tensor) -> None:
    account.seconds.append(seconds)
    if v.shape[1] == truth.shape[1]:
        account.ranks += 1
        sine = float(torch.linalg.matrix_norm(v - truth @ (truth.T @ v), ord=2))
        account.apart = max(account.apart, sine)


def _full(weight: Tensor) -> Tensor:
    _, s, vh = torch.linalg.svd(weight.double(), full_matrices=False)
    return vh[: rank_for_energy(s, ENERGY, tuple(weight.shape))].T


def _all_vectors(weight: Tensor) -> Tensor:
    """Right directions by the whole eigenproblem of the smaller Gram matrix."""
    w = weight.double()
    tall = w.shape[0] > w.shape[1]
    values, vectors = torch.linalg.eigh(w.T @ w if tall else w @ w.T)
    s = values.flip(0).clamp(min=0.0).sqrt()
    k = rank_for_energy(s, ENERGY, tuple(w.shape))
    small = vectors.flip(1)[:, :k]
    return small if tall else torch.linalg.qr(w.T @ small / s[:k])[0]


def _made_up(out: int, inner: int, batches: int, rank: int, step: float) -> Iterator[Tensor]:
    """A weight, then what guarded updates of a few percent of it make of it."""
    generator = torch.Generator().manual_seed(0)
    u = torch.linalg.qr(torch.randn(out, min(out, inner), generator=generator))[0]
    v = torch.linalg.qr(torch.randn(inner, min(out, inner), generator=generator))[0]
    weight = (u * (1 + _HEAD / torch.arange(1, u.shape[1] + 1) ** _SLOPE)) @ v.T
    yield weight
    for _ in range(batches):
        basis = SpectralBasis.fit(weight, energy=ENERGY)
        update = torch.randn(out, rank, generator=generator) @ torch.randn(
            rank, inner, generator=generator
        )
        safe = basis.project_out(update)
        weight = weight + safe * (step * weight.norm() / safe.norm())
        yield weight


def _lab(batches: int, edits: int) -> list[Iterator[Tensor]]:
    """The lab model's edited weights along a run of MEMIT-seq under the guard."""
    stage = prepare(SHAPES["lab"], "float32", "strict", _CPU, batches * edits)
    engine = stage.engine(Revive(energy=ENERGY, basis="current"))
    keys = [site.parameter for site in stage.sites]
    weights = {key: [stage.ledger.weight(key)] for key in keys}
    for first in range(0, batches * edits, edits):
        print(f"batch {first // edits + 1}", file=sys.stderr, flush=True)
        engine.apply(stage.edits[first : first + edits])
        for key in keys:
            weights[key].append(stage.ledger.weight(key))
    return [iter(weights[key]) for key in keys]


def _table(sequences: list[dict[str, Account]]) -> str:
    lines = [
        "| way | seconds | of the full SVD | ranks as the full SVD's | largest sine | fell back |",
        "|:--|--:|--:|--:|--:|--:|",
    ]
    for found in sequences:
        whole = median(found["full SVD"].seconds)
        for name, account in found.items():
            took, n = median(account.seconds), len(account.seconds)
            lines.append(
                f"| {name} | {took:.3g} | {took / whole:.1%} | {account.ranks} of {n} | "
                f"{account.apart:.0e} | {account.fallbacks} of {n} |"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
