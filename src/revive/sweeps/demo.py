"""The demo's arms: same stream, order and seed, on SmolLM2-135M or on the embedded lab model."""

import math
from collections.abc import Mapping
from typing import Any

from revive.presets.facts import model_facts
from revive.presets.table import choose, presets
from revive.sources.model_config import read_model_config
from revive.sweeps.variants import RunVariant

_PAPER = 0.1  # tau of arXiv 2601.11042

# Measuring takes half of a demo's time: enough for its curves, and under five minutes in all.
_SAMPLE = 64
_ITEMS = {"facts": 60, "pairs": 60, "copies": 30, "words": 700}
_POINTS = 2  # measurements of a stream, besides the unedited model's


# A real model's; both are what five minutes of two cores have room for.
_REAL_SAMPLE = 60
_REAL_ITEMS = {"facts": 30, "pairs": 80, "copies": 20, "words": 700}
_WEAKER = 30.0  # lambda of the weaker arm, relative to the preset's


def demo_arms(model: str, edits: int, batch_size: int, seed: int) -> list[RunVariant]:
    """The arms of `revive demo`: what history, guard and strength do on one stream.

    On a real model every arm but the last two has the preset's strength, and tau is the paper's
    0.1. The weaker arm shows what writing less does, which any guard has to beat.

    Args:
        model: `lab`, or any other model.
        edits: Length of the stream, of the package's facts.
        batch_size: Edits per batch.
        seed: Of the stream and of everything drawn.
    """
    if model == "lab":
        return lab_variants(edits, batch_size, seed)
    every = max(1, math.ceil(edits / batch_size / _POINTS))
    config = read_model_config(model, None)
    ridge = choose(None, model, model_facts(config)).options.get("ridge")

    def arm(name: str, label: str, role: str, editor: Any, guard: Any) -> RunVariant:
        spec = lab_spec(edits, batch_size, seed, editor, guard, every=every, sample=_REAL_SAMPLE)
        spec["model"] = {"name": model, "precision": "fast"}
        spec["probes"][1] |= _REAL_ITEMS
        return RunVariant(name, label, {**spec, "checkpoint": {"every": 4}, "role": role})

    revive = {"name": "revive", "energy": _PAPER, "solve": "constrained"}
    none = {"name": "none"}
    arms = [
        arm("memit", "MEMIT", "baseline", {"name": "memit"}, none),
        arm("memit-seq", "MEMIT with history", "baseline", {"name": "memit-seq"}, none),
        arm("revive", "MEMIT with history + REVIVE", "guarded", {"name": "memit-seq"}, revive),
    ]
    if isinstance(ridge, float):
        weaker = {"name": "memit-seq", "ridge": _WEAKER * ridge}
        arms.append(arm("weaker", "MEMIT with history, weaker", "control", weaker, none))
    return arms


def lab_variants(edits: int, batch_size: int, seed: int) -> list[RunVariant]:
    """The arms of `revive demo --model lab`.

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

    def arm(name: str, label: str, role: str, editor: Any, guard: Any) -> RunVariant:
        spec = lab_spec(edits, batch_size, seed, editor, guard, every=every, sample=_SAMPLE)
        spec["probes"][1] |= _ITEMS
        # The spectrum costs next to nothing, and its curve is worth every point.
        spec["probes"][-1]["every"] = 1
        return RunVariant(name, label, {**spec, "checkpoint": {"every": 4}, "role": role})

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
