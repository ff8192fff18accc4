"""Runs for the drift study: over one stream, losing ability at different times. No torch.

They differ in lambda, so that weights grow at different speeds, and in editor and guard; seeds
change the facts, their objects and their order.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from revive.sweeps.demo import lab_spec
from revive.sweeps.variants import RunVariant

BATCH = 16
SAMPLE = 24  # edits measured
ITEMS = {"facts": 100, "pairs": 100, "copies": 60}
_EVERY = 2  # batches between two measurements of edits and general ability

_CONSTRAINED = {"name": "revive", "energy": 0.02, "solve": "constrained"}
_LAB: tuple[tuple[str, str, dict[str, Any], int], ...] = (
    ("memit", "none", {"name": "none"}, 300),
    ("memit", "none", {"name": "none"}, 1000),
    ("memit", "none", {"name": "none"}, 3000),
    ("memit", "none", {"name": "none"}, 10000),
    ("memit-seq", "none", {"name": "none"}, 6000),
    ("memit-seq", "constrained.02", _CONSTRAINED, 3000),
)


def drift_variants(edits: int, seed: int) -> list[RunVariant]:
    """All arms of one seed on the lab model's own stream."""
    found: list[RunVariant] = []
    for editor, title, guard, ridge in _LAB:
        name = f"{editor}_{title}_{ridge}_s{seed}"
        chosen = {"name": editor, "ridge": float(ridge)}
        spec = lab_spec(edits, BATCH, seed, chosen, guard, every=_EVERY, sample=SAMPLE)
        found.append(RunVariant(name, name, _measured(spec, edits)))
    return found


def model_arms(
    model: dict[str, Any], edits: Path, limit: int, seed: int, moments: Sequence[Path]
) -> list[RunVariant]:
    """MEMIT and MEMIT under REVIVE at the model's own settings, on a user's edits.

    Args:
        model: As in a spec.
        edits: Edit file.
        limit: Edits per run.
        seed: Of the stream and everything drawn.
        moments: Text for key second moments; empty is the lab's.
    """
    texts = [str(path) for path in moments] or "lab"
    found: list[RunVariant] = []
    for guard in ({"name": "none"}, {"name": "revive", "energy": 0.1}):
        name = f"memit_{guard['name']}_s{seed}"
        spec: dict[str, Any] = {
            "model": model,
            "edits": {"path": str(edits), "limit": limit, "batch_size": BATCH, "seed": seed},
            "editor": {"name": "memit"},
            "guard": guard,
            "moments": {"text": texts},
            "probes": [{"name": "edits", "every": _EVERY, "sample": SAMPLE}, {}, {}],
            "seed": seed,
        }
        found.append(RunVariant(name, name, _measured(spec, limit)))
    return found


def _measured(spec: dict[str, Any], edits: int) -> dict[str, Any]:
    """The spectrum after every batch, edits and general ability after every other one."""
    spec["probes"][1:] = [
        {"name": "general", "every": _EVERY, **ITEMS},
        {"name": "spectrum", "every": 1, "detail": True},
    ]
    return {**spec, "checkpoint": {"every": max(1, edits // BATCH)}}
