"""`make soak`: thousands of batches on a tiny model, and what every one of them costs.

Memory, open files, bytes of the journal and seconds of a batch must be the same at the end of a run
as at its beginning.
"""

import argparse
import gc
import json
import os
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import psutil

from e2e.e2e_runs import CITIES
from reliability.bed import Bed
from revive.runs.loop import start
from revive.runs.observers import Observer
from revive.spec.parsing import load_spec, read_model_config
from revive.spec.resolve import resolve

MOST_MEMORY = 0.01  # growth, as a share
MOST_FILES = 0  # more than there were
MOST_JOURNAL = 0.02  # growth of a batch's lines, as a share; numbers grow longer
MOST_TIME = 0.25  # growth of a batch's median, as a share


@dataclass
class Watch(Observer):
    """What is used after every batch.

    Attributes:
        folder: The run's.
        resident: Bytes of memory.
        files: Open file descriptors.
        journal: Bytes of the journal.
        clock: Seconds of processor time.
    """

    folder: Path
    resident: list[int] = field(default_factory=list[int])
    files: list[int] = field(default_factory=list[int])
    journal: list[int] = field(default_factory=list[int])
    clock: list[float] = field(default_factory=list[float])

    def batch(self, edits: int) -> None:
        """Take a look."""
        if len(self.resident) % 50 == 0:
            gc.collect()  # what waits for the collector is no leak
        self.resident.append(psutil.Process().memory_info().rss)
        self.files.append(len(os.listdir("/proc/self/fd")))
        self.journal.append((self.folder / "journal.jsonl").stat().st_size)
        self.clock.append(time.process_time())


@dataclass(frozen=True)
class Soaked:
    """Beginning and end of a long run, each the median over a tenth of its batches.

    Attributes:
        batches: How many there were.
        resident: Bytes of memory.
        files: Open files.
        journal: Bytes of the journal that a batch adds.
        seconds: Processor time of a batch.
    """

    batches: int
    resident: tuple[float, float]
    files: tuple[float, float]
    journal: tuple[float, float]
    seconds: tuple[float, float]

    def told(self) -> list[str]:
        """For people."""
        return [
            f"{self.batches:,} batches, first and last tenth after the warm-up:",
            f"  memory {self.resident[0] / 2**20:.1f} and {self.resident[1] / 2**20:.1f} MiB "
            f"({_growth(self.resident):+.2%})",
            f"  open files {self.files[0]:.0f} and {self.files[1]:.0f}",
            f"  journal {self.journal[0]:,.0f} and {self.journal[1]:,.0f} bytes a batch "
            f"({_growth(self.journal):+.2%})",
            f"  processor time {self.seconds[0] * 1000:.1f} and {self.seconds[1] * 1000:.1f} ms a "
            f"batch ({_growth(self.seconds):+.1%})",
        ]

    def wrong(self) -> list[str]:
        """What grows."""
        checks = (
            ("memory", _growth(self.resident), MOST_MEMORY),
            ("open files", self.files[1] - self.files[0], MOST_FILES),
            ("journal", _growth(self.journal), MOST_JOURNAL),
            ("time", _growth(self.seconds), MOST_TIME),
        )
        return [f"{name} grows by {found:.3g}" for name, found, most in checks if found > most]


def _growth(pair: tuple[float, float]) -> float:
    return pair[1] / pair[0] - 1


def soak(bed: Bed, batches: int, editor: str = "memit-seq") -> Soaked:
    """Run so many batches of two edits, with a checkpoint every 50 and no probe in between."""
    edits = bed.root / "edits.jsonl"
    lines = (json.dumps(_edit(n)) + "\n" for n in range(2 * batches))
    edits.write_text("".join(lines), "utf-8")
    path = bed.spec(
        editor,
        edits={"path": str(edits), "batch_size": 2},
        probes=[{"name": "spectrum", "every": max(1, batches // 4)}],
        checkpoint={"every": 50},
    )
    spec = load_spec(path)
    spec = resolve(spec, read_model_config(spec.model.name))
    watch = Watch(path.parent / "run")
    start(spec, watch.folder, watch)
    return measured(watch)


def _edit(number: int) -> dict[str, str]:
    """Of one length, and of a subject of its own."""
    name = f"Ada {number:06d}"
    return {"prompt": f"{name} lives in", "subject": name, "target_new": CITIES[number % 5]}


def measured(watch: Watch) -> Soaked:
    """Compare a run's beginning with its end; its first tenth warms up."""
    count = len(watch.resident)
    tenth = max(2, count // 10)
    early, late = slice(tenth, 2 * tenth), slice(count - tenth, count)
    added = [b - a for a, b in zip(watch.journal, watch.journal[1:], strict=False)]
    took = [b - a for a, b in zip(watch.clock, watch.clock[1:], strict=False)]

    def both(values: list[int] | list[float]) -> tuple[float, float]:
        return float(median(values[early])), float(median(values[late]))

    return Soaked(count, both(watch.resident), both(watch.files), both(added), both(took))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batches", type=int, default=2000)
    parser.add_argument("--editor", default="memit-seq")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="revive-soak-") as root:
        found = soak(Bed(Path(root)), options.batches, options.editor)
    print("\n".join([*found.told(), *found.wrong()]))
    sys.exit(bool(found.wrong()))


if __name__ == "__main__":
    main()
