"""Time the parts of an editing batch, beside a floor and a plain reference with an equal result.

Every part is timed in this process, with the same threads as the rates of products and of copying
that its floor is made of. Where the results of ours and of the plain way differ by more than a
stated tolerance, no time is printed: the run fails. Wall-clock numbers need a quiet machine.
"""

import argparse
import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from benchmarks.machine import measure
from benchmarks.own import end_to_end, own_rows, own_verdicts
from benchmarks.parts import batch_rows, drift_rows, moments_rows, probe_row
from benchmarks.row import Row
from benchmarks.shapes import SHAPES
from benchmarks.stage import prepare
from benchmarks.table import markdown
from revive.runs.environment import environment

_PARTS = ("moments", "batch", "probes")
_PROBED = 25
_BATCH = 100
# Between two measurements of the rates; more says that something else was running.
_QUIET = 0.1


def main(arguments: list[str] | None = None) -> int:
    """Run, write `result.json` and `result.md`, print the page."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    known = [name for name in SHAPES if name != "tiny"]
    parser.add_argument(
        "--shapes",
        default="lab,gpt2",
        help=f"comma-separated, of {', '.join(known)} (default: lab,gpt2; under 15 minutes on two "
        "quiet cores; gpt2-xl takes 14 GB of memory, llama-3-8b a GPU; smollm2 is the real model, "
        "with what the package takes by itself, and takes 20 minutes)",
    )
    parser.add_argument("--quick", action="store_true", help="a tiny model, in seconds: a check")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="default: every core")
    parser.add_argument(
        "--parts",
        default=",".join(_PARTS),
        help=f"comma-separated, of {', '.join(_PARTS)} (default: all)",
    )
    parser.add_argument("--layers", help="comma-separated, instead of the shape's")
    parser.add_argument("--edits", type=int, help="edits of the batch, instead of the shape's")
    parser.add_argument(
        "--passages",
        type=int,
        help="of 128 tokens, for moments, instead of the shape's; batches need more tokens than a "
        "key has entries",
    )
    parser.add_argument(
        "--dtype", default="float32", choices=("float32", "bfloat16"), help="of the model"
    )
    parser.add_argument(
        "--precision",
        default="strict",
        choices=("strict", "fast"),
        help="fast: bfloat16 or TF32 factors in forward products, where the hardware has them",
    )
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--out", type=Path, default=Path("bench-result"), help="a folder")
    chosen = parser.parse_args(arguments)
    names = ["tiny"] if chosen.quick else chosen.shapes.split(",")
    unknown = [name for name in names if name not in SHAPES]
    if unknown:
        parser.error(f"--shapes: {', '.join(unknown)} is unknown; choose of {', '.join(known)}")
    chosen.parts = chosen.parts.split(",")
    unknown = [part for part in chosen.parts if part not in _PARTS]
    if unknown:
        parser.error(f"--parts: {', '.join(unknown)} is unknown; choose of {', '.join(_PARTS)}")
    device = torch.device(chosen.device)
    if "llama-3-8b" in names and device.type != "cuda":
        parser.error("--shapes: llama-3-8b needs a GPU; on a CPU take gpt2")
    torch.set_num_threads(chosen.threads)
    load, revision = os.getloadavg()[0], _revision()
    shapes = [_shape(name, chosen, device) for name in names]
    result = {
        "schema": 1,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "revision": revision,
        "load": load,
        "dtype": chosen.dtype,
        "precision": chosen.precision,
        "environment": environment(
            model_fingerprint="",
            device=torch.cuda.get_device_name(device) if device.type == "cuda" else None,
            threads=chosen.threads,
        ),
        "shapes": shapes,
    }
    chosen.out.mkdir(parents=True, exist_ok=True)
    page = markdown(result)
    (chosen.out / "result.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    (chosen.out / "result.md").write_text(page, encoding="utf-8")
    print(page)
    return 0


def _shape(name: str, chosen: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    shape = SHAPES[name]

    def say(what: str) -> None:
        print(f"{name}: {what}", file=sys.stderr, flush=True)

    say("rates of the machine")
    dtypes = ("float32", "float64", *(("bfloat16",) if device.type == "cuda" else ()))
    before = measure(device, dtypes, quick=chosen.quick)
    say("model and moments")
    layers = [int(x) for x in chosen.layers.split(",")] if chosen.layers else None
    stage = prepare(
        shape,
        chosen.dtype,
        chosen.precision,
        device,
        chosen.edits,
        layers,
        chosen.passages,
        edited=chosen.parts != ["moments"],
    )
    rows: list[Row] = moments_rows(stage) if "moments" in chosen.parts else []
    whole = 0.0
    if "batch" in chosen.parts:
        batch, whole = batch_rows(stage, say)
        rows += batch
        if shape.own is not None:
            say("the same batch by rule")
            stage.ledger.reset()
            rows += own_rows(stage, batch)
    if "probes" in chosen.parts:
        say("probes")
        rows.append(probe_row(stage, min(_PROBED, len(stage.edits))))
        rows += drift_rows(stage)
    few = None
    if shape.own is not None and "batch" in chosen.parts:
        say("a few facts, end to end")
        few = end_to_end(chosen.threads)
    after = measure(device, dtypes, quick=chosen.quick)
    machine, change = before.fastest(after), before.change(after)
    done = [row.as_dict(machine, whole) for row in rows]
    return {
        "name": name,
        "about": shape.about,
        "edits": len(stage.edits),
        "machine": {
            "matmul": machine.matmul,
            "bandwidth": machine.bandwidth,
            "launch": machine.launch,
            "change": change,
        },
        "rows": done,
        "end_to_end": few,
        "targets": []
        if chosen.quick or len(chosen.parts) < len(_PARTS)
        else _verdicts(done, change, len(stage.edits))
        if few is None
        else own_verdicts(done, few, _unjudged(done, change, len(stage.edits))),
    }


def _verdicts(rows: list[dict[str, Any]], change: float, edits: int) -> list[str]:
    """What the project wants of these numbers, and whether it holds here."""
    by_part = {row["part"]: row for row in rows}
    whole = next(row for part, row in by_part.items() if part.startswith("whole batch"))
    unjudged = _unjudged(rows, change, edits)

    def verdict(met: bool) -> str:
        return f"not judged ({unjudged})" if unjudged else "met" if met else "missed"

    solver = by_part["target solver"]["share_of_matmul_rate"]
    part = next(p for p in ("moments, all layers", "moments") if p in by_part)
    moments = by_part[part]["speedup"]
    lines = [
        f"whole batch at least 8 times the plain way: {whole['speedup']:.1f}, "
        + verdict(whole["speedup"] >= 8),
        f"target solver at 60 % of the matmul rate: {solver:.0%}, {verdict(solver >= 0.6)}",
        f"{part} at least 4 times the plain way: {moments:.1f}, {verdict(moments >= 4)}",
    ]
    limits = (
        ("guard, original basis", 0.005),
        ("guard, current basis", 0.02),
        ("drift probe", 0.02),
        ("drift probe, detail", 0.02),
    )
    for part, most in limits:
        share = by_part[part]["share_of_batch"]
        lines.append(f"{part} under {most:.1%} of a batch: {share:.2%}, {verdict(share <= most)}")
    return lines


def _unjudged(rows: list[dict[str, Any]], change: float, edits: int) -> str:
    """Why these numbers cannot be held against a target; empty where they can."""
    if edits != _BATCH:
        return f"the targets are for a batch of {_BATCH}, this is one of {edits}"
    if change > _QUIET:
        return "the machine was not quiet: its rates changed during the run"
    below = [row["part"] for row in rows if row["over_floor"] < 1]
    if below:
        return f"the machine was not quiet: {', '.join(below)} took less than its floor"
    return ""


def _revision() -> str:
    """The commit that was timed, marked where the working tree differs from it."""
    git = ["git", "-C", str(Path(__file__).resolve().parent)]
    try:
        commit = subprocess.run(
            [*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True
        ).stdout.strip()
        dirty = subprocess.run(
            [*git, "status", "--porcelain", "--untracked-files=no"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{commit}, changed since" if dirty else commit


if __name__ == "__main__":
    sys.exit(main())
