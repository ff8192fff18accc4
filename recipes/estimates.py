"""What `revive check` says that a run takes, beside what it took.

    python recipes/estimates.py --data counterfact.json --out FOLDER

Five settings are estimated as `check` does it, then run with one thread and an empty cache, from
loading the model to the last measurement. CPU seconds of one thread are what counts: other
processes change them little, and a quiet machine takes as many seconds. The load says how busy it
was. Settings that are in the folder's `result.json` already are not run again; estimates are made
anew.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from revive.data.readers import load_edits
from revive.estimate.estimate import Times, estimate
from revive.estimate.lengths import measure_lengths
from revive.estimate.machine_rates import measure_rates
from revive.io.atomic import write_text
from revive.io.cache import cache_folder
from revive.presets.facts import model_facts
from revive.runs.environment import environment
from revive.runs.loop import start
from revive.runs.observers import Observer
from revive.sources.model_config import tokenizer_file
from revive.spec.parsing import parse_spec, read_model_config, resolve
from revive.spec.schema import RunSpec

_THREADS = 1


def settings(data: str) -> dict[str, dict[str, Any]]:
    """Specs by name."""
    real = {"model": {"name": "smollm2", "device": "cpu"}, "threads": _THREADS}
    lab = {"model": {"name": "lab", "device": "cpu"}, "threads": _THREADS}

    def facts(count: int) -> dict[str, Any]:
        return {"path": data, "limit": count, "on_conflict": "last"}

    return {
        "lab, memit-seq, 200 edits": {
            **lab,
            "edits": {"path": "lab", "limit": 200},
            "editor": "memit-seq",
        },
        "lab, ultraedit, 500 edits": {
            **lab,
            "edits": {"path": "lab", "limit": 500},
            "editor": "ultraedit",
        },
        "smollm2, memit, 20 edits": {**real, "edits": facts(20), "editor": "memit"},
        "smollm2, memit, 100 edits": {**real, "edits": facts(100), "editor": "memit"},
        "smollm2, ft, 100 edits": {
            **real,
            "edits": facts(100),
            "editor": {"name": "ft", "lr": 1e-3},
        },
    }


class Watch(Observer):
    """CPU seconds of what is told of before the first batch."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last: tuple[str, float] | None = None

    def phase(self, name: str, done: int, total: int) -> None:
        """What began now ends what was before it."""
        now = time.process_time()
        if self._last is not None:
            before, began = self._last
            self.seconds[before] = self.seconds.get(before, 0.0) + now - began
        self._last = (name, now)


def told(spec: RunSpec) -> Times:
    """As `check` has it."""
    edits = spec.edits
    config = read_model_config(spec.model.name)
    loaded = load_edits(edits.path, limit=edits.limit, on_conflict=edits.on_conflict).edits
    lengths = measure_lengths(loaded, tokenizer_file(spec.model.name))
    rates = measure_rates(model_facts(config), spec.threads, cache_folder())
    return estimate(spec, config, len(loaded), lengths, rates).times


def taken(spec: RunSpec, folder: Path) -> dict[str, Any]:
    """Run it; the cache holds the model alone."""
    models = cache_folder() / "models"
    own = folder / "cache" / "revive"
    own.mkdir(parents=True)
    (own / "models").symlink_to(models)
    kept = os.environ.get("XDG_CACHE_HOME")
    os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
    watch = Watch()
    wall, cpu = time.perf_counter(), time.process_time()
    try:
        summary = start(spec, folder / "run", watch)
    finally:
        os.environ.pop("XDG_CACHE_HOME")
        if kept is not None:
            os.environ["XDG_CACHE_HOME"] = kept
    watch.phase("end", 0, 0)
    return {
        "cpu": time.process_time() - cpu,
        "wall": time.perf_counter() - wall,
        "wall_by_phase": summary["seconds"],
        "cpu_by_announcement": watch.seconds,
    }


def table(result: Mapping[str, Any]) -> str:
    """The page."""
    env = result["environment"]
    lines = [
        "# Estimated and measured",
        "",
        f"{env['cpu_count']} cores, {_THREADS} thread, torch {env['versions']['torch']}; seconds "
        "of everything, with an empty cache. CPU seconds are of the process.",
        "",
        "| setting | estimated | measured, CPU s | ratio | measured, wall s | load |",
        "|:--|--:|--:|--:|--:|--:|",
    ]
    for name, row in result["rows"].items():
        said, took = row["estimated"], row["measured"]["cpu"]
        lines.append(
            f"| {name} | {said:.0f} | {took:.0f} | {said / took:.2f} | "
            f"{row['measured']['wall']:.0f} | {row['load']:.1f} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Estimate, run, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="CounterFact records")
    parser.add_argument("--out", type=Path, default=Path("estimates"), help="a folder")
    parser.add_argument("--only", help="the settings whose name holds this")
    chosen = parser.parse_args()
    path = chosen.out / "result.json"
    result: dict[str, Any] = {"environment": environment(model_fingerprint=""), "rows": {}}
    if path.exists():
        result = json.loads(path.read_text(encoding="utf-8"))
    chosen.out.mkdir(parents=True, exist_ok=True)
    for name, given in settings(str(chosen.data.resolve())).items():
        config = read_model_config(given["model"]["name"])
        spec = resolve(parse_spec(given, "estimates"), config)
        if name not in result["rows"]:
            if chosen.only is not None and chosen.only not in name:
                continue
            load = os.getloadavg()[0]
            with tempfile.TemporaryDirectory() as folder:
                result["rows"][name] = {"measured": taken(spec, Path(folder)), "load": load}
        times = told(spec)
        result["rows"][name]["parts"] = asdict(times)
        # The program was running already: of its start the reading of the checkpoint is left.
        result["rows"][name]["estimated"] = times.total - times.before["start"] + 1.0
        write_text(path, json.dumps(result, indent=1) + "\n")
        write_text(chosen.out / "result.md", table(result))
    print(table(result))


if __name__ == "__main__":
    main()
