"""What came of `twenty-thousand.yaml`, its controls and its further seeds: tables and curves.

    revive sweep recipes/twenty-thousand.yaml --out runs/twenty-thousand
    revive sweep recipes/twenty-thousand-controls.yaml --out runs/twenty-thousand-controls
    revive sweep recipes/twenty-thousand-seeds.yaml --out runs/twenty-thousand-seeds
    python recipes/twenty_thousand.py --runs runs/twenty-thousand*
    python recipes/twenty_thousand.py              # print what is kept

Of every finished run its summary and the seconds of its batches are kept in
docs/results/twenty-thousand; the curves are drawn beside them.
"""

import argparse
import json
import shutil
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from revive.run_folder.journal import Journal
from revive.studies.figures import StudyFigure, write_figures

STYLES = {"none": "-", "random-subspace": ":", "norm-matched": "-."}
MARKS = {"none": "o", "revive": "s", "random-subspace": "x", "norm-matched": "+"}
LATE = 8_000  # edits; means are over the measurements from here on
COUNTS = (2_000, 6_000, 10_000, 20_000)


@dataclass(frozen=True)
class Kept:
    """A finished run.

    Attributes:
        summary: Its summary.
        seconds: Of every batch, without probes.
    """

    summary: Mapping[str, Any]
    seconds: Sequence[float]

    @property
    def label(self) -> str:
        """Editor and guard."""
        return str(self.summary["label"]).partition(" (seed")[0].replace("energy=0.1", ".1")

    @property
    def seed(self) -> int:
        """Of the run and of its stream."""
        return int(str(self.summary["label"]).partition("(seed ")[2].rstrip(")"))

    @property
    def editor(self) -> str:
        """The editor's name, without its strength."""
        return self.label.partition(",")[0].split()[0]

    @property
    def guard(self) -> str:
        """The guard's name."""
        return self.label.partition(", ")[2].split()[0]

    def late(self, metric: str) -> float:
        """Mean of a metric's later measurements."""
        return statistics.fmean(v for at, v in self.curve(metric).items() if at >= LATE)

    def curve(self, metric: str) -> dict[int, float]:
        """A metric by edits made; general ability over the unedited model's."""
        before = self.summary["unedited"][metric] if metric == "general" else 1.0
        return {row["edits"]: row[metric] / before for row in self.summary["curve"]}


def keep(runs: Path, out: Path) -> None:
    """Copy what is needed of the runs that are finished."""
    for summary in sorted(runs.glob("*/summary.json")):
        folder = out / summary.parent.name
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(summary, folder)
        batches = [
            e for e in Journal.read(summary.parent / "journal.jsonl") if e["event"] == "batch"
        ]
        seconds = [round(sum(e["seconds"].values()), 3) for e in batches]
        (folder / "seconds.json").write_text(json.dumps(seconds) + "\n", encoding="utf-8")


def kept(out: Path) -> dict[str, list[Kept]]:
    """All runs that are kept: by editor and guard, one a seed."""
    found: dict[str, list[Kept]] = {}
    for path in out.glob("*/summary.json"):
        run = Kept(
            json.loads(path.read_text(encoding="utf-8")),
            json.loads((path.parent / "seconds.json").read_text(encoding="utf-8")),
        )
        found.setdefault(run.label, []).append(run)
    return {label: sorted(found[label], key=lambda run: run.seed) for label in sorted(found)}


def tables(runs: Mapping[str, Sequence[Kept]]) -> Iterator[str]:
    """Markdown: what is in place and kept, what guards are worth, then what it took."""
    places = " | ".join(
        f"exact at {count:,}" if count == COUNTS[0] else f"{count:,}" for count in COUNTS
    )
    late = "late efficacy | late kept"
    head = f"{places} | {places.replace('exact', 'kept')} | {late} | overlap | norm x"
    yield f"| editor, guard | seeds | {head} |"
    yield "|---|" + "---|" * (2 * len(COUNTS) + 5)
    for label, seeds in runs.items():
        cells = [
            _mean([run.curve(metric)[count] for run in seeds])
            for metric in ("efficacy_exact", "general")
            for count in COUNTS
        ]
        cells += [
            _spread([run.late(metric) for run in seeds]) for metric in ("efficacy", "general")
        ]
        cells.append(_mean([run.summary["final"]["subspace_overlap"] for run in seeds]))
        cells.append(_mean([run.summary["final"]["weight_norm_ratio"] for run in seeds], 1))
        yield f"| {label} | {len(seeds)} | {' | '.join(cells)} |"
    yield ""
    yield "| editor, guard | kept more at equal efficacy | in each seed |"
    yield "|---|---|---|"
    for label, gains in worth(runs).items():
        each = ", ".join(f"{gain:+.2f}" for gain in gains)
        yield f"| {label} | {_spread(gains, sign='+')} | {each} |"
    yield ""
    yield "| editor, guard | seeds | minutes | of them probes | a batch, s | peak memory, GB |"
    yield "|---|---|---|---|---|---|"
    for label, seeds in runs.items():
        cells = [
            _mean([run.summary["seconds"]["total"] / 60 for run in seeds], 0),
            _mean([run.summary["seconds"]["probe"] / 60 for run in seeds], 0),
            _mean([statistics.median(run.seconds) for run in seeds], 1),
            _mean([run.summary["peak_memory_bytes"] / 1e9 for run in seeds]),
        ]
        yield f"| {label} | {len(seeds)} | {' | '.join(cells)} |"


def worth(runs: Mapping[str, Sequence[Kept]]) -> dict[str, list[float]]:
    """Late ability of guarded runs above that of the same editor alone at equal late efficacy.

    Alone it is known at one strength or more, and at none: the unedited model. Between these it is
    taken to be linear; a guarded run of more efficacy than any of them is held against the
    strongest, which understates it. All against runs of their own seed.
    """
    every = [run for seeds in runs.values() for run in seeds]
    found: dict[str, list[float]] = {}
    for run in every:
        if run.guard == "none":
            continue
        same = [other for other in every if (other.editor, other.seed) == (run.editor, run.seed)]
        alone = sorted(
            [(run.summary["unedited"]["efficacy"], 1.0)]
            + [(o.late("efficacy"), o.late("general")) for o in same if o.guard == "none"]
        )
        efficacy, ability = zip(*alone, strict=True)
        line = float(np.interp(run.late("efficacy"), efficacy, ability))
        found.setdefault(run.label, []).append(run.late("general") - line)
    return found


def _mean(values: Sequence[float], digits: int = 2) -> str:
    return f"{statistics.fmean(values):.{digits}f}"


def _spread(values: Sequence[float], sign: str = "") -> str:
    """Mean, and standard deviation over seeds where there are several."""
    mean = f"{statistics.fmean(values):{sign}.2f}"
    return mean if len(values) == 1 else f"{mean} ± {statistics.stdev(values):.2f}"


def curves(runs: Mapping[str, Sequence[Kept]]) -> list[StudyFigure]:
    """Edits in place, and ability kept, over the stream: colours are editors, styles guards.

    Means over seeds.
    """
    editors = sorted({label.partition(", ")[0] for label in runs})

    def figure(name: str, metric: str, title: str, axis: str) -> StudyFigure:
        def draw(axes: Axes) -> None:
            for label, seeds in runs.items():
                points = [run.curve(metric) for run in seeds]
                axes.plot(
                    list(points[0]),
                    [statistics.fmean(curve[at] for curve in points) for at in points[0]],
                    STYLES.get(seeds[0].guard, "--"),
                    color=f"C{editors.index(label.partition(', ')[0])}",
                    label=label,
                )
            axes.set_xlabel("edits made")
            axes.set_ylabel(axis)
            axes.set_ylim(bottom=0)
            _legend(axes)

        return StudyFigure(name, title, f"{title}, by editor and guard", draw)

    return [
        _trade_off(runs),
        figure("in-place", "efficacy_exact", "Edits in place", "share answered exactly"),
        figure("ability", "general", "General ability", "share of the unedited model's"),
    ]


def _legend(axes: Axes) -> None:
    """Below the picture: there are more arms than room in it."""
    below = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.2)}
    axes.legend(frameon=False, fontsize="x-small", ncols=2, **below)


def _trade_off(runs: Mapping[str, Sequence[Kept]]) -> StudyFigure:
    """Where arms are from 8,000 edits on; lines join an editor's strengths, without a guard."""
    every = [run for seeds in runs.values() for run in seeds]
    editors = sorted({run.editor for run in every})

    def draw(axes: Axes) -> None:
        for number, editor in enumerate(editors):
            own = [run for run in every if run.editor == editor]
            for seed in sorted({run.seed for run in own}):
                alone = [_place(r) for r in own if r.guard == "none" and r.seed == seed]
                x, y = zip((0.0, 1.0), *sorted(alone), strict=True)
                axes.plot(x, y, color=f"C{number}", linewidth=0.8, label="_")
            for guard in MARKS:
                places = [_place(run) for run in own if run.guard == guard]
                if places:
                    label = f"{editor}, {guard}"
                    x, y = zip(*places, strict=True)
                    axes.plot(x, y, MARKS[guard], color=f"C{number}", label=label)
        axes.set_xlabel("late efficacy")
        axes.set_ylabel("late general ability kept")
        axes.set_xlim(left=0)
        axes.set_ylim(0, 1.03)
        _legend(axes)

    title = "Edits in place and ability kept, late in the stream"
    return StudyFigure("trade-off", title, f"{title}, by editor and guard", draw)


def _place(run: Kept) -> tuple[float, float]:
    return run.late("efficacy"), run.late("general")


def main() -> None:
    """Keep, print, draw."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--runs",
        type=Path,
        nargs="+",
        default=(),
        help="folders of the sweeps; only what is kept if not given",
    )
    parser.add_argument("--out", type=Path, default=Path("docs/results/twenty-thousand"))
    options = parser.parse_args()
    for folder in options.runs:
        keep(folder, options.out)
    runs = kept(options.out)
    if not runs:
        parser.error(f"no finished run in {options.out}; call revive sweep, then give --runs")
    print("\n".join(tables(runs)))
    write_figures(curves(runs), options.out)


if __name__ == "__main__":
    main()
