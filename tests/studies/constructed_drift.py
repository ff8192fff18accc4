"""Journals in which it is known what leads what; invented numbers, for tests only."""

import json
import math
import random

STEP = 16
STEPS = 24


def fall(edits, at, width=20.0):
    """From 1 to 0 around `at`."""
    return 1.0 / (1.0 + math.exp(min(50.0, (edits - at) / width)))


def write_run(folder, collapse, *, lead, seed, every=2, noise=0.004, steps=STEPS, fluke=None):
    """A run that loses ability around `collapse`; `tail_ratio` moves so many edits earlier.

    `fluke`: where `tail_ratio` moves instead, whatever happens to ability.
    """
    rng = random.Random(seed)
    folder.mkdir(parents=True)
    moved = collapse - lead if fluke is None else fluke
    lines = [{"event": "start", "step": 0, "edits": STEP * steps, "edits_fingerprint": ""}]
    for step in range(steps + 1):
        n = STEP * step
        if step:
            made = [f"e{n}"] * STEP
            batch = {"edits": made, "made": made, "failed": [], "sites": {}, "seconds": {}}
            lines.append({"event": "batch", "step": step, **batch})
        metrics = {
            # A power of 10 of what falls, for the study takes this measure's logarithm.
            "tail_ratio": 10 ** (2 * (1 - fall(n, moved)) + rng.gauss(0, noise)),
            "update_entropy": 0.5 + rng.gauss(0, 0.02),
        }
        if step % every == 0:
            metrics["general"] = 0.8 * (fall(n, collapse) + rng.gauss(0, noise))
            metrics["efficacy_exact"] = 0.5 + rng.gauss(0, 0.02)
        lines.append({"event": "measure", "step": step, "edits": n, "metrics": metrics})
    text = "".join(json.dumps({"time": 0.0, "schema": 1, **line}) + "\n" for line in lines)
    (folder / "journal.jsonl").write_text(text, "utf-8")
    (folder / "spec.yaml").write_text("model: {name: lab}\neditor: {name: memit}\n", "utf-8")
    return folder


def write_runs(root, *, lead=0, groups=6, seeds=3, independent=False, **more):
    """Arms that collapse at different times; `independent`: the measure's time is another."""
    folders = []
    for group in range(groups):
        for seed in range(seeds):
            collapse = 110 + 35 * group + 6 * seed
            # Times of the right spread, in an order that has nothing to do with the collapse.
            fluke = 80 + 35 * ((group * 5 + seed * 3 + 2) % 7) if independent else None
            name = f"arm{group}_s{seed}"
            folders.append(
                write_run(
                    root / name, collapse, lead=lead, seed=10 * group + seed, fluke=fluke, **more
                )
            )
    return folders
