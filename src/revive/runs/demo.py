"""The demo's arms: same stream, order and seed, on the embedded lab model."""

import math
from collections.abc import Mapping
from typing import Any

from revive.presets.table import presets
from revive.runs.arms import Arm

_PAPER = 0.1  # tau of arXiv 2601.11042

# Measuring takes half of a demo's time: enough for its curves, and under five minutes in all.
_SAMPLE = 64
_ITEMS = {"facts": 60, "pairs": 60, "copies": 30, "words": 700}
_POINTS = 2  # measurements of a stream, besides the unedited model's


def demo_arms(edits: int, batch_size: int, seed: int) -> list[Arm]:
    """The arms of `revive demo`.

    lambda of the baseline and of the guarded arms is the preset's, calibrated on one fresh batch of
    the unguarded editor, as the literature does; tau is the paper's 0.1, and again calibrated on
    one fresh batch if that gives another value. The control's lambda is re-tuned for the whole
    stream, and so is that of the last arm, the best guarded one we have: MEMIT-seq solved under
    the constraint, at the calibrated tau. All stand in the lab preset (`presets/lab.yaml`) with the
    commands that print them.

    Args:
        edits: Length of the stream.
        batch_size: Edits per batch.
        seed: Of the stream and of everything drawn.
    """
    tuned = presets()["lab"].tuned
    every = max(1, math.ceil(edits / batch_size / _POINTS))

    def arm(name: str, label: str, role: str, editor: Any, guard: Any) -> Arm:
        spec = lab_spec(edits, batch_size, seed, editor, guard, every=every, sample=_SAMPLE)
        spec["probes"][1] |= _ITEMS
        # The spectrum costs next to nothing, and its curve is worth every point.
        spec["probes"][-1]["every"] = 1
        return Arm(name, label, {**spec, "checkpoint": {"every": 4}, "role": role})

    revive = {"name": "revive", "energy": _PAPER}
    memit = {"name": "memit"}
    label = "MEMIT + REVIVE"
    arms = [
        arm("memit", "MEMIT", "baseline", memit, {"name": "none"}),
        arm("memit-revive", label, "guarded", memit, revive),
    ]
    if tuned["energy"] != _PAPER:
        calibrated = {**revive, "energy": tuned["energy"]}
        label = f"{label}, tau {tuned['energy']:g}"
        arms.append(arm("memit-revive-calibrated", label, "guarded", memit, calibrated))
    return [
        *arms,
        arm(
            "memit-tuned",
            "MEMIT, lambda tuned on the stream",
            "control",
            {"name": "memit", "ridge": tuned["stream_ridge"]},
            {"name": "none"},
        ),
        arm(
            "memit-seq-revive",
            "MEMIT-seq + REVIVE, constrained",
            "best",
            {"name": "memit-seq", "ridge": tuned["best_ridge"]},
            {**revive, "energy": tuned["energy"], "solve": "constrained"},
        ),
    ]


def lab_spec(
    edits: int,
    batch_size: int,
    seed: int,
    editor: Mapping[str, object],
    guard: Mapping[str, object],
    *,
    every: int,
    sample: int,
) -> dict[str, Any]:
    """A spec of a stream on the lab model, measured every few batches, on one thread.

    Args:
        edits: Length of the stream.
        batch_size: Edits per batch.
        seed: Of the stream and of everything drawn.
        editor: As in a spec.
        guard: As in a spec.
        every: Batches between two measurements.
        sample: Edits that are measured.
    """
    return {
        "model": {"name": "lab", "precision": "fast"},
        "edits": {"path": "lab", "limit": edits, "batch_size": batch_size, "seed": seed},
        "editor": dict(editor),
        "guard": dict(guard),
        "probes": [
            {"name": "edits", "every": every, "sample": sample},
            {"name": "general", "every": every, "facts": 150, "pairs": 150, "copies": 100},
            {"name": "spectrum", "every": every},
        ],
        "seed": seed,
        "threads": 1,
    }
