"""How fast this machine multiplies matrices of a run's shapes, measured in at most two seconds.

No torch: products are numpy's, with as many threads as the run will have. What the run makes of
them is calibrated in `estimate.estimate`. Kept in the cache per machine and shapes for a day: a
machine that was busy while it was measured is not slow for good.
"""

import json
import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from revive.io.atomic import write_text
from revive.io.json_text import read_json
from revive.presets.facts import ModelFacts

_SECONDS = 0.9  # of measuring, for each of two shapes
_DAY = 86_400.0
# Products of a few milliseconds: on a busy machine some of them are not interrupted.
_ROWS = 128
_MOST = 1 << 22  # entries of a matrix: 16 MB
_KEPT = "rates.json"


@dataclass(frozen=True, slots=True)
class Rates:
    """How fast products are.

    Attributes:
        products: Floating point operations a second, float32, of 128 tokens with the projections of
            an MLP, up and down; the best of some milliseconds each.
        measured_on: The processor, and how many of its threads.
    """

    products: float
    measured_on: str


def measure_rates(facts: ModelFacts, threads: int | None, cache: Path | None) -> Rates:
    """Measure, or find what was measured today.

    Args:
        facts: The model's sizes.
        threads: Of the run; None is one a core.
        cache: Folder of constant results; None keeps nothing.
    """
    count = threads or os.cpu_count() or 1
    where = f"{_processor()}, {count} of {os.cpu_count() or 1} threads"
    name = f"{where}, {facts.hidden} x {facts.inner}"
    path = None if cache is None else cache / _KEPT
    kept = {} if path is None else _read(path)
    now = time.time()
    found = kept.get(name)
    if found is not None and 0 <= now - found["when"] < _DAY:
        return Rates(found["products"], where)
    up = _rate(facts.hidden, facts.inner, count)
    down = _rate(facts.inner, facts.hidden, count)
    measured = Rates(2 / (1 / up + 1 / down), where)
    if path is not None:
        entry = {"products": measured.products, "when": now}
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps({**kept, name: entry}, indent=1))
    return measured


def _rate(inner: int, outer: int, threads: int) -> float:
    """Of `[128, inner]` with `[inner, outer]`, the latter as wide as memory is spared.

    One thread is tried too: where others compute, several wait for each other.
    """
    import numpy as np
    from threadpoolctl import threadpool_limits

    outer = max(1, min(outer, _MOST // inner))
    left = np.full((_ROWS, inner), 0.5, dtype=np.float32)
    right = np.full((inner, outer), 0.5, dtype=np.float32)
    out = np.empty((_ROWS, outer), dtype=np.float32)
    numbers = {1, threads}
    best = float("inf")
    for number in numbers:
        with threadpool_limits(limits=number, user_api="blas"):
            best = min(best, _best(lambda: np.matmul(left, right, out=out), len(numbers)))
    return 2 * _ROWS * inner * outer / best


def _best(work: Callable[[], object], share: int) -> float:
    """Shortest time of as many as fit: what other processes take is left out."""
    work()
    began, best = time.perf_counter(), float("inf")
    while True:
        before = time.perf_counter()
        work()
        now = time.perf_counter()
        best = min(best, now - before)
        if now - began > _SECONDS / share:
            return best


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _read(path: Path) -> dict[str, dict[str, float]]:
    """What is kept; a file that cannot be read is measured anew."""
    try:
        data = read_json(path.read_text(encoding="utf-8"))
        wanted = {"products", "when"}
        return {name: entry for name, entry in data.items() if wanted <= entry.keys()}
    except (OSError, ValueError, AttributeError):
        return {}
