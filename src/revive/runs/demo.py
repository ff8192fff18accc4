"""The demo's four arms: same stream, order and seed, on the embedded lab model."""

from typing import Any

from revive.presets.table import presets
from revive.runs.arms import Arm


def demo_arms(edits: int, batch_size: int, seed: int) -> list[Arm]:
    """The arms of `revive demo`.

    lambda of the first two arms and of the last is the preset's, calibrated on one fresh batch
    (`revive calibrate lab`); the control's is re-tuned for the whole stream (recipes/frontier.py
    prints the scan). Both stand in the lab preset with the commands that print them.

    Args:
        edits: Length of the stream.
        batch_size: Edits per batch.
        seed: Of the stream and of everything drawn.
    """
    tuned = presets()["lab"].tuned
    every = max(1, round(edits / batch_size / 4))

    def arm(name: str, label: str, role: str, editor: Any, guard: Any) -> Arm:
        return Arm(
            name,
            label,
            {
                "model": {"name": "lab"},
                "edits": {
                    "path": "lab",
                    "limit": edits,
                    "batch_size": batch_size,
                    "seed": seed,
                },
                "editor": editor,
                "guard": guard,
                "probes": [
                    {"name": "edits", "every": every, "sample": 200},
                    {"name": "general", "every": every, "facts": 200, "pairs": 200, "copies": 50},
                    {"name": "spectrum", "every": 1},
                ],
                "checkpoint": {"every": 4},
                "seed": seed,
                "threads": 1,
                "role": role,
            },
        )

    revive = {"name": "revive", "energy": 0.1}
    return [
        arm("memit", "MEMIT", "baseline", {"name": "memit"}, {"name": "none"}),
        arm("memit-revive", "MEMIT + REVIVE", "guarded", {"name": "memit"}, revive),
        arm(
            "memit-tuned",
            "MEMIT, lambda tuned on the stream",
            "control",
            {"name": "memit", "ridge": tuned["stream_ridge"]},
            {"name": "none"},
        ),
        arm(
            "memit-seq-revive",
            "MEMIT-seq + REVIVE",
            "best",
            {"name": "memit-seq"},
            {**revive, "solve": "constrained"},
        ),
    ]
