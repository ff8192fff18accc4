"""The result of `gpu_study.py`: one JSON and one Markdown file, from what is on the disk alone."""

import json
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from frontier_tables import grid_points, table_lines
from gpu_plan import grid
from gpu_stages import Room, chapter_data, fitted

from revive.io.atomic import write_text
from revive.io.json_text import to_json
from revive.report.study_page import Chapter
from revive.runs.environment import environment
from revive.studies.drift_study.study import drift_study
from revive.studies.table import StudyTable

SCHEMA = 1
_GIB = 2**30


def hardware(device: str) -> dict[str, Any]:
    """What the study ran on; no host, user or path names."""
    found = environment(model_fingerprint="", device=device_name(device))
    del found["model_fingerprint"]
    if device.startswith("cuda"):
        facts = torch.cuda.get_device_properties(torch.device(device))
        found |= {
            "device_memory_bytes": facts.total_memory,
            "device_capability": f"{facts.major}.{facts.minor}",
            "cuda": torch.version.cuda,
        }
    return found


def device_name(device: str) -> str:
    """A device in words."""
    return torch.cuda.get_device_name(torch.device(device)) if "cuda" in device else device


def revision() -> dict[str, Any]:
    """The commit of this checkout, and whether files differ from it; unknown outside of one."""
    here = Path(__file__).resolve().parent

    def git(*words: str) -> str | None:
        try:
            done = subprocess.run(["git", "-C", here, *words], capture_output=True, text=True)
        except OSError:
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    changed = git("status", "--porcelain", "--untracked-files=no")
    return {
        "commit": git("rev-parse", "HEAD"),
        "changed": None if changed is None else bool(changed),
    }


def collect(
    room: Room,
    head: Mapping[str, Any],
    states: list[dict[str, Any]],
    results: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    """Everything that is known by now.

    Args:
        room: Where the study works.
        head: Date, hardware, revision and settings, as of its beginning.
        states: Name, state and seconds of every stage.
        results: Of the stages that are done.
    """
    studies = {name: results[name] for name in ("reconstruct", "perturb") if name in results}
    found: dict[str, Any] = {
        "schema": SCHEMA,
        **head,
        "finished": all(state["state"] == "done" for state in states),
        "stages": states,
        "training": [results[n] for n in ("train, learn", "train, finish") if n in results],
        "evaluation": results.get("evaluate"),
        "fit": results.get("fit"),
        "frontier": _frontier(room, results),
        "studies": {**studies, **_drift(room)},
    }
    return found


def _frontier(room: Room, results: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    chosen = fitted(results)
    if chosen is None:
        return {"points": [], "tables": []}
    whole = grid(room.plan, chosen)
    points: list[dict[str, Any]] = []
    tables: list[str] = []
    for count in room.plan.counts:
        found = grid_points(room.work / "arms", whole, room.seeds, count)
        if not found:
            continue
        points += [
            {"edits": count, "editor": e, "guard": g, "ridge": r, "seed": seed, **asdict(point)}
            for (e, g, r), by_seed in found.items()
            for seed, point in by_seed.items()
        ]
        tables.append("\n".join(table_lines(found, whole, count)).strip())
    return {"points": points, "tables": tables}


def _drift(room: Room) -> dict[str, Any]:
    """The drift study of the runs that are finished."""
    folders = sorted(p.parent for p in (room.work / "arms").glob("*/summary.json"))
    if not folders:
        return {}
    near = room.plan.batch * room.plan.every
    study = drift_study(folders, horizon=near, ahead=near, draws=room.plan.drift_draws)
    note = f"{len(folders)} runs of the frontier; the spectrum was measured after every batch."
    return {"drift": chapter_data(Chapter("Drift", note, (), study.tables()))}


def write(result: Mapping[str, Any], out: Path, name: str) -> tuple[Path, Path]:
    """Write both files; each appears whole or not at all."""
    data, page = out / f"{name}.json", out / f"{name}.md"
    write_text(data, to_json(result, indent=2) + "\n")
    write_text(page, "\n".join(_page(json.loads(to_json(result)))) + "\n")
    return data, page


def _page(result: Mapping[str, Any]) -> Iterator[str]:
    machine, at = result["hardware"], result["revision"]
    yield f"# Study of lab-{result['settings']['size']}, {result['date']}"
    yield ""
    state = "Finished." if result["finished"] else "Not finished: what is left stands below."
    yield f"{state} `{result['command']}`; the numbers behind it are in the JSON file beside it."
    yield ""
    yield f"- device: {machine['device']}" + _memory(machine)
    yield f"- {machine['platform']}, Python {machine['python']}, {machine['cpu_count']} CPU cores"
    versions = ", ".join(f"{k} {v}" for k, v in machine["versions"].items() if v)
    yield f"- {versions}" + (f", CUDA {machine['cuda']}" if machine.get("cuda") else "")
    changed = " with local changes" if at["changed"] else ""
    yield f"- revision: {at['commit'] or 'unknown'}{changed}"
    yield ""
    yield from _table(
        ("stage", "state", "minutes"),
        [(s["name"], s["state"], f"{s['seconds'] / 60:.1f}") for s in result["stages"]],
    )
    if result["training"]:
        yield "## Training"
        yield ""
        for stage in result["training"]:
            speed = stage["tokens_per_second"]
            told = f", {speed:,.0f} tokens/s" if speed else ""
            taken = f"{stage['tokens']:,} tokens, {stage['minutes']} minutes{told}"
            yield f"- {taken}: `{stage['command']}`"
        yield ""
    if result["evaluation"]:
        yield "## Evaluation"
        yield ""
        rows = [(key, f"{float(value):.4g}") for key, value in result["evaluation"].items()]
        yield from _table(("measure", "value"), rows)
    if result["fit"]:
        yield "## Blocks, step size and lambda, on one fresh batch"
        yield ""
        rows = [
            (str(r["layers"]), f"{r['rate']:g}", f"{r['ridge']:g}", f"{r['score']:.3f}")
            for r in result["fit"]["tried"]
        ]
        yield from _table(("blocks", "step size", "lambda", "score"), rows)
    if result["frontier"]["tables"]:
        yield "## Frontier"
        yield ""
        yield "The stream edits facts again, with other targets, once all have been edited; only"
        yield "the latest edit of a fact is measured."
        yield ""
        for table in result["frontier"]["tables"]:
            yield table
            yield ""
    for name, study in result["studies"].items():
        yield f"## {name.capitalize()}"
        yield ""
        yield study["note"]
        yield ""
        for table in study["tables"]:
            rows = tuple(tuple(row) for row in table["rows"])
            yield StudyTable(table["title"], table["note"], tuple(table["header"]), rows).markdown()


def _memory(machine: Mapping[str, Any]) -> str:
    size = machine.get("device_memory_bytes")
    return f", {size / _GIB:.0f} GiB" if size else ""


def _table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> Iterator[str]:
    for row in (header, ("---",) * len(header), *rows):
        yield f"| {' | '.join(row)} |"
    yield ""
