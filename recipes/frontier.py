"""Every arm and control as a frontier over its own strength, on the lab stream.

    python recipes/frontier.py              # run what is missing, then print
    python recipes/frontier.py --tables     # only print what is there

The summaries of finished runs are kept in docs/results/frontier, and a run with a summary is not
repeated; give another --out to repeat all of them (about 40 s a run on one of two cores).

A single operating point proves nothing: a guard may only move along the trade-off that lambda
already offers. So each guard is run over a grid of lambda (and REVIVE over tau too), each at 0.25,
0.5 and 1.0 edits per singular direction of the edited weight, each on several seeds, which change
the facts, their new objects and their order. MEMIT-seq and AlphaEdit are the bases that remember
the keys of all edits so far; AlphaEdit's strength is L2, its weight of the identity.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from frontier_tables import print_tables

from revive.sweeps.demo import lab_spec
from revive.sweeps.variants import RunVariant, run_variants

DIRECTIONS = 512  # min(d_out, d_in) of the lab model's edited projections
SHARES = (0.25, 0.5, 1.0)  # edits per direction at which every arm is measured
BATCH = 64
SAMPLE = 80  # edits measured

STRENGTH = {"memit": "ridge", "memit-seq": "ridge", "alphaedit": "l2"}
"""The setting of each editor that trades success for ability."""

GUARDS: dict[str, dict[str, Any]] = {
    "none": {"name": "none"},
    "revive .1": {"name": "revive", "energy": 0.1},
    "revive .02": {"name": "revive", "energy": 0.02},
    "revive .3": {"name": "revive", "energy": 0.3},
    "revive .5": {"name": "revive", "energy": 0.5},
    "current .1": {"name": "revive", "energy": 0.1, "basis": "current"},
    "constrained .1": {"name": "revive", "energy": 0.1, "solve": "constrained"},
    "constrained .02": {"name": "revive", "energy": 0.02, "solve": "constrained"},
    "random-subspace": {"name": "random-subspace", "energy": 0.1},
    "norm-matched": {"name": "norm-matched", "energy": 0.1},
    "left-only": {"name": "left-only", "energy": 0.1},
    "right-only": {"name": "right-only", "energy": 0.1},
    "weighted p1": {"name": "revive", "solve": "weighted", "power": 1.0},
    "weighted p2": {"name": "revive", "solve": "weighted", "power": 2.0},
    "weighted inputs": {"name": "revive", "solve": "weighted", "power": 1.0, "weigh": "inputs"},
    "weighted gradients": {
        "name": "revive",
        "solve": "weighted",
        "power": 1.0,
        "weigh": "gradients",
    },
    "sphere .8": {"name": "sphere", "alpha": 0.8},
    "sphere hard": {"name": "sphere", "kind": "hard"},
}

GRID: dict[str, dict[str, tuple[int, ...]]] = {
    "memit": {
        "none": (300, 1000, 3000, 6000, 10000),
        "revive .1": (300, 1000, 3000, 6000),
        "current .1": (300, 1000, 3000),
        "constrained .1": (1000, 3000, 6000),
        "revive .02": (1000, 3000, 6000),
        "revive .3": (1000, 3000),
        "revive .5": (300, 1000),
        "left-only": (1000, 3000, 6000),
        "right-only": (1000, 3000, 6000),
        "random-subspace": (1000, 3000, 6000),
        "norm-matched": (1000, 3000, 6000),
        "weighted p1": (300, 1000, 3000),
        "weighted p2": (100, 300, 1000),
        "weighted inputs": (100, 300, 1000),
        "weighted gradients": (300, 1000, 3000),
        "sphere .8": (1000, 3000, 6000),
        "sphere hard": (1000, 3000, 6000),
    },
    "memit-seq": {
        "none": (300, 1000, 3000, 6000, 10000),
        "constrained .1": (300, 1000, 3000, 6000),
        "constrained .02": (1000, 3000, 6000),
        "revive .1": (1000, 3000),
        "left-only": (1000, 3000, 6000),
        "weighted p1": (300, 1000, 3000),
        "weighted p2": (100, 300, 1000),
    },
    "alphaedit": {
        "none": (100, 300, 1000, 3000, 10000),
        "revive .1": (100, 300, 1000),
        "constrained .02": (300, 1000, 3000),
    },
}


def arms(seed: int) -> Iterator[RunVariant]:
    """All runs of one seed."""
    every = round(DIRECTIONS * SHARES[0] / BATCH)
    edits = round(DIRECTIONS * SHARES[-1])
    for editor, guards in GRID.items():
        for guard, strengths in guards.items():
            for strength in strengths:
                name = f"{editor}_{guard.replace(' ', '')}_{strength}_s{seed}"
                chosen = {"name": editor, STRENGTH[editor]: float(strength)}
                spec = lab_spec(
                    edits, BATCH, seed, chosen, GUARDS[guard], every=every, sample=SAMPLE
                )
                yield RunVariant(name, name, {**spec, "checkpoint": {"every": 8}})


def main() -> None:
    """Run what is missing, then print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("docs/results/frontier"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--jobs", type=int, default=None, help="runs at a time [one per core]")
    parser.add_argument("--tables", action="store_true", help="only print the tables")
    options = parser.parse_args()
    if not options.tables:
        for seed in options.seeds:
            run_variants(list(arms(seed)), options.out, jobs=options.jobs)
    counts = [round(DIRECTIONS * share) for share in SHARES]
    print_tables(options.out, GRID, options.seeds, counts, DIRECTIONS)


if __name__ == "__main__":
    main()
