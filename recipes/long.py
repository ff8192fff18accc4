"""Far past one edit per input: a stream of 2,048 edits of the lab model, N / d_in = 2.

    python recipes/long.py              # run what is missing, then print
    python recipes/long.py --tables     # only print what is there

The paper's extreme, 20,000 edits on d_in = 14,336, is N / d_in = 1.4. Every arm is run at several
lambdas, and the summaries are kept in docs/results/long (about 5 minutes a run on one of two
cores).
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from frontier_tables import print_tables

from revive.sweeps.demo import lab_spec
from revive.sweeps.variants import RunVariant, run_variants

EDITS = 2048
INPUTS = 1024  # d_in of the lab model's edited projections
BATCH = 64
SAMPLE = 200  # edits measured

GUARDS: dict[str, dict[str, Any]] = {
    "none": {"name": "none"},
    "revive .1": {"name": "revive", "energy": 0.1},
    "constrained .02": {"name": "revive", "energy": 0.02, "solve": "constrained"},
}

GRID: dict[str, dict[str, tuple[int, ...]]] = {
    "memit": {"none": (6000, 20000), "revive .1": (6000, 20000)},
    "memit-seq": {"none": (6000, 20000), "constrained .02": (6000, 20000)},
}


def arms(seed: int) -> Iterator[RunVariant]:
    """All runs of one seed."""
    every = EDITS // BATCH // 4
    for editor, guards in GRID.items():
        for guard, ridges in guards.items():
            for ridge in ridges:
                name = f"{editor}_{guard.replace(' ', '')}_{ridge}_s{seed}"
                chosen = {"name": editor, "ridge": float(ridge)}
                spec = lab_spec(
                    EDITS, BATCH, seed, chosen, GUARDS[guard], every=every, sample=SAMPLE
                )
                yield RunVariant(name, name, {**spec, "checkpoint": {"every": 16}})


def main() -> None:
    """Run what is missing, then print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("docs/results/long"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--jobs", type=int, default=None, help="runs at a time [one per core]")
    parser.add_argument("--tables", action="store_true", help="only print the tables")
    options = parser.parse_args()
    if not options.tables:
        for seed in options.seeds:
            run_variants(list(arms(seed)), options.out, jobs=options.jobs)
    counts = [EDITS // 4, EDITS // 2, EDITS]
    print_tables(options.out, GRID, options.seeds, counts, INPUTS, "input")


if __name__ == "__main__":
    main()
