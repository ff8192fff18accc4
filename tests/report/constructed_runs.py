"""Constructed run folders: invented numbers of the right shape, for tests only."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

MakeRun = Callable[..., Path]

UNEDITED = {
    "efficacy": 0.08,
    "paraphrase": 0.1,
    "neighborhood": 0.9,
    "score": 0.13,
    "efficacy_exact": 0.0,
    "general": 0.8,
    "fact_recall": 0.95,
    "perplexity": 4.0,
}

HEALTHY = {
    "efficacy": 0.97,
    "paraphrase": 0.85,
    "neighborhood": 0.75,
    "score": 0.85,
    "efficacy_exact": 0.93,
    "general": 0.78,
    "fact_recall": 0.92,
    "perplexity": 4.2,
    "weight_norm_ratio": 1.4,
    "subspace_overlap": 1.0,
    "tail_ratio": 0.8,
}

COLLAPSED = {
    "efficacy": 0.52,
    "paraphrase": 0.5,
    "neighborhood": 0.5,
    "score": 0.51,
    "efficacy_exact": 0.02,
    "general": 0.3,
    "fact_recall": 0.1,
    "perplexity": 900.0,
    "weight_norm_ratio": 160.0,
    "subspace_overlap": 0.1,
    "tail_ratio": 22.0,
}


def _curve(final: Mapping[str, float], edits: int, points: int) -> list[dict[str, Any]]:
    """From healthy to `final`, turning half-way, in steps."""
    rows: list[dict[str, Any]] = []
    for step in range(1, points + 1):
        turn = 1 / (1 + math.exp(-10 * (step / points - 0.55)))
        turn = 1.0 if step == points else turn
        row: dict[str, Any] = {"edits": edits * step // points, "sample": 300}
        for name, end in final.items():
            start = HEALTHY.get(name, end)
            if isinstance(end, float) and start > 0 and end > 0 and math.isfinite(end):
                row[name] = math.exp((1 - turn) * math.log(start) + turn * math.log(end))
            else:
                row[name] = end
        rows.append(row)
    return rows


def plain(value: object) -> object:
    """Non-finite numbers as the strings that a run folder holds."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return value


def batch_event(step: int, ids: Sequence[str], *, guarded: bool, failed: Sequence[Any] = ()) -> Any:
    sites = {
        f"model.layers.{layer}.mlp.down_proj.weight": {
            "asked": 1.0 + 0.1 * step,
            "applied": (0.8 if guarded else 1.0) * (1.0 + 0.1 * step),
            "removed": {
                "uk_vk": 0.04 * layer if guarded else 0.0,
                "uk_rest": 0.06 if guarded else 0.0,
                "rest_vk": 0.12 if guarded else 0.0,
                "rest_rest": 0.0,
            },
            "leak": (1e-7 if guarded else 0.2) * layer,
            "rank": 12,
        }
        for layer in (2, 3, 4)
    }
    seconds = {"targets": 2.0, "keys": 0.4, "solve": 0.3, "guard": 0.05, "write": 0.02, "probe": 1}
    return {
        "event": "batch",
        "time": 0.0,
        "step": step,
        "schema": 1,
        "edits": list(ids),
        "made": [i for i in ids if i not in {f if isinstance(f, str) else f["id"] for f in failed}],
        "sites": sites,
        "seconds": seconds,
        "failed": list(failed),
    }


def folder_maker(root: Path) -> MakeRun:
    """A function that writes one constructed run folder below `root`."""

    def make(
        name: str,
        final: Mapping[str, Any] = HEALTHY,
        *,
        unedited: Mapping[str, Any] = UNEDITED,
        editor: str = "memit",
        guard: str = "none",
        edits: int = 2000,
        points: int = 10,
        order: str = "file",
        seed: int = 0,
        failed: Sequence[Any] = (),
        summary: Mapping[str, Any] | None = None,
        finished: bool = True,
    ) -> Path:
        folder = root / name
        folder.mkdir(parents=True)
        spec = {
            "model": {"name": "lab"},
            "edits": {"path": "edits.jsonl", "order": order, "seed": seed},
            "editor": {"name": editor},
            "guard": {"name": guard},
        }
        (folder / "spec.yaml").write_text(yaml.safe_dump(spec), encoding="utf-8")
        curve = _curve(final, edits, points)
        size = edits // points
        start = {"edits": edits, "edits_fingerprint": "constructed"}
        events: list[Any] = [{"event": "start", "time": 0.0, "step": 0, "schema": 1, **start}]
        head = {"time": 0.0, "schema": 1}
        events.append({"event": "measure", "step": 0, "edits": 0, "metrics": unedited, **head})
        for step, row in enumerate(curve, start=1):
            ids = [f"edit-{step}-{i}" for i in range(size)]
            bad = failed if step == 1 else ()
            events.append(batch_event(step, ids, guarded=guard != "none", failed=bad))
            metrics = {k: v for k, v in row.items() if k != "edits"}
            events.append(
                {
                    "event": "measure",
                    "step": step,
                    "edits": row["edits"],
                    "metrics": metrics,
                    **head,
                }
            )
        lines = [json.dumps(plain(e)) + "\n" for e in events]
        (folder / "journal.jsonl").write_text("".join(lines), encoding="utf-8")
        content = {
            "schema": 1,
            "run": name,
            "model": "lab",
            "editor": editor,
            "guard": guard,
            "edits": edits,
            "batches": points,
            "final": final,
            "unedited": unedited,
            "curve": curve,
            "seconds": {
                "total": 42.0,
                "targets": 20.0,
                "keys": 4.0,
                "solve": 3.0,
                "guard": 0.5,
                "write": 0.2,
                "probe": 10.0,
            },
            "peak_memory_bytes": 3 * 2**29,
            **(summary or {}),
        }
        if finished:
            (folder / "summary.json").write_text(json.dumps(plain(content)), encoding="utf-8")
        return folder

    return make
