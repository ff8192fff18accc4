"""What a GPU makes possible, in one command: a larger lab model, long streams, all the studies.

    python recipes/gpu_study.py                  # or: make gpu-study
    python recipes/gpu_study.py --minutes 50     # stop in time; call again to go on
    python recipes/gpu_study.py --size tiny --device cpu --work /tmp/tiny --out /tmp/tiny/results

It trains lab-large (120 M parameters) in two stages and evaluates it; fits blocks, step size and
lambda on one fresh batch; runs editors x guards x lambda over a stream of 10,000 edits, compared at
2,000 and at 10,000, which edits every fact twice or more, each time with another target; and takes
the spectra apart. Stages come in the order of what they tell. After each, and when time is up, one
JSON and one Markdown file are written to docs/results/gpu, named by date and device, with whatever
is known by then. What is done is kept in --work and not repeated; a stage that was stopped goes on
where it was.

Every run is a process of its own, `--jobs` of them share a GPU. Python's own time between small
kernels is most of a batch's at this size, so a few processes side by side use a GPU better than one
that holds a single model for all, and a run that fails, or is killed, takes no other with it. Each
costs a copy of the model (half a gigabyte) and some seconds to start.
"""

import argparse
import datetime
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from gpu_plan import PLANS
from gpu_result import collect, device_name, hardware, revision, write
from gpu_stages import Room, TimeIsUp, stages

from revive.cli.watch import hushed
from revive.errors import ReviveError, SpecError
from revive.io.atomic import write_text
from revive.io.json_text import to_json
from revive.progress import progress_on_stderr

_GPU_JOBS = 4


def study(room: Room, out: Path) -> tuple[Path, Path]:
    """Do what is left, in order, until time is up; write the files after every stage."""
    head = _head(room)
    name = f"{head['date']}-{_slug(head['hardware']['device'])}"
    folder = room.work / "stages"
    listed = stages(room.plan)
    results = {stage: _read(folder, stage) for stage in listed}
    spent = {stage: found["seconds"] for stage, found in results.items() if found}
    done = {stage: found["result"] for stage, found in results.items() if found}
    left = [stage for stage in listed if stage not in done]

    def written(state: Mapping[str, str]) -> tuple[Path, Path]:
        states = [
            {"name": s, "state": state.get(s, "left"), "seconds": spent.get(s, 0.0)} for s in listed
        ]
        return write(collect(room, head, states, done), out, name)

    state = dict.fromkeys(done, "done")
    for stage in left:
        started = time.monotonic()
        try:
            room.check()
            result = listed[stage](room, done)
        except TimeIsUp:
            spent[stage] = time.monotonic() - started
            state[stage] = "begun" if spent[stage] > 1 else "left"
            break
        if torch.cuda.is_available():
            # The runs are processes of their own: what this one no longer needs is theirs.
            torch.cuda.empty_cache()
        spent[stage] = time.monotonic() - started
        done[stage], state[stage] = result, "done"
        write_text(folder / f"{stage}.json", to_json({"seconds": spent[stage], "result": result}))
        written(state)
    return written(state)


def _head(room: Room) -> dict[str, Any]:
    """What the study is, fixed when it begins, so that a later call goes on with the same file.

    Raises:
        SpecError: The folder holds a study of other settings.
    """
    path = room.work / "study.json"
    settings = json.loads(to_json({**asdict(room.plan), "seeds": room.seeds}))
    if path.is_file():
        head: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if head["settings"] != settings:
            raise SpecError(f"--work {room.work}: holds a study of other settings; give another.")
        return head
    seeds = " ".join(map(str, room.seeds))
    head = {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "command": f"python recipes/gpu_study.py --size {room.plan.size} --seeds {seeds}",
        "hardware": hardware(room.device),
        "revision": revision(),
        "settings": settings,
    }
    write_text(path, to_json(head, indent=2) + "\n")
    return head


def _read(folder: Path, stage: str) -> dict[str, Any] | None:
    path = folder / f"{stage}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def _slug(text: str) -> str:
    return "-".join("".join(c if c.isalnum() else " " for c in text.lower()).split())


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the command line and go on with the study."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", choices=sorted(PLANS), default="large")
    parser.add_argument("--device", default="auto", help="auto, cuda, cuda:1, cpu [auto]")
    parser.add_argument("--minutes", type=float, help="stop after so many; call again to go on")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument(
        "--jobs", type=int, help=f"runs at a time [{_GPU_JOBS}; on a CPU, its cores]"
    )
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="source texts")
    parser.add_argument("--work", type=Path, help="models and runs [runs/gpu-study-SIZE]")
    parser.add_argument("--out", type=Path, default=Path("docs/results/gpu"))
    parser.add_argument("--compile", action="store_true", help="compile the training")
    parser.add_argument("--quiet", action="store_true", help="no progress")
    options = parser.parse_args(argv)
    device = options.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    with hushed(), progress_on_stderr(quiet=options.quiet) as show:
        room = Room(
            plan=PLANS[options.size],
            work=(options.work or Path("runs") / f"gpu-study-{options.size}").resolve(),
            data=options.data,
            device=device,
            seeds=options.seeds,
            jobs=options.jobs or (_GPU_JOBS if device != "cpu" else os.cpu_count() or 1),
            compile=options.compile,
            deadline=None if options.minutes is None else time.monotonic() + 60 * options.minutes,
            show=show,
        )
        if device == "cpu" and options.size == "large":
            raise SpecError("--size large: would take weeks on a CPU; try things with --size tiny.")
        files = study(room, options.out)
    print(f"{device_name(device)}: {files[0]} and {files[1]}")


if __name__ == "__main__":
    try:
        main()
    except ReviveError as error:
        sys.exit(f"gpu_study: {error}")
