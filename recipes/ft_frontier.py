"""What came of `ft-frontier.yaml`: fine-tuning over its learning rate, by guard.

    revive sweep recipes/ft-frontier.yaml --out runs/ft-frontier
    python recipes/ft_frontier.py --runs runs/ft-frontier
    python recipes/ft_frontier.py                   # print what is kept

The summaries of finished runs are kept in docs/results/ft-frontier.
"""

import argparse
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

from frontier_tables import Point, frontier_lines, point_of, table_lines

COUNT = 128  # edits of a run
LABEL = re.compile(r"(?P<editor>ft) lr=(?P<lr>[^,]+), (?P<guard>[^ ]+).* \(seed (?P<seed>\d+)\)")


def keep(runs: Path, out: Path) -> None:
    """Copy the summaries of runs that are finished."""
    for summary in runs.glob("*/summary.json"):
        folder = out / summary.parent.name
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(summary, folder)


def points(out: Path) -> dict[tuple[str, str, float], dict[int, Point]]:
    """By editor, guard and learning rate, the point of every seed."""
    found: dict[tuple[str, str, float], dict[int, Point]] = {}
    for path in sorted(out.glob("*/summary.json")):
        summary = json.loads(path.read_text(encoding="utf-8"))
        told, point = LABEL.fullmatch(summary["label"]), point_of(summary, COUNT)
        if told is not None and point is not None:
            arm = (told["editor"], told["guard"], float(told["lr"]))
            found.setdefault(arm, {})[int(told["seed"])] = point
    return {arm: found[arm] for arm in sorted(found)}


def main() -> None:
    """Keep and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=Path, help="folder of the sweep; default what is kept")
    parser.add_argument("--out", type=Path, default=Path("docs/results/ft-frontier"))
    options = parser.parse_args()
    if options.runs is not None:
        keep(options.runs, options.out)
    found = points(options.out)
    if not found:
        parser.error(f"no finished run in {options.out}; call revive sweep, then give --runs")
    guards = sorted({guard for _, guard, _ in found}, key=lambda guard: (guard != "none", guard))
    strengths = sorted({lr for _, _, lr in found})
    grid = {"ft": dict.fromkeys(guards, strengths)}
    print("\n".join(table_lines(found, grid, COUNT)))
    print("\n#### The same, by the score: paraphrases and neighbours too\n")
    scored = {
        arm: {seed: replace(point, exact=point.score) for seed, point in seeds.items()}
        for arm, seeds in found.items()
    }
    print("\n".join(line for line in frontier_lines(scored, grid) if line.startswith("|")))


if __name__ == "__main__":
    main()
