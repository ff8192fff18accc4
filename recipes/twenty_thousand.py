"""What came of `twenty-thousand.yaml` and its controls: tables and curves.

    revive sweep recipes/twenty-thousand.yaml --out runs/twenty-thousand
    python recipes/twenty_thousand.py --runs runs/twenty-thousand
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

from matplotlib.axes import Axes

from revive.runs.journal import Journal
from revive.studies.figures import StudyFigure, write_figures

STYLES = {"none": "-", "random-subspace": ":", "norm-matched": "-."}
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
        found = str(self.summary["label"]).removesuffix(" (seed 0)")
        return found.replace("energy=0.1", ".1")

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


def kept(out: Path) -> list[Kept]:
    """All runs that are kept, by editor and guard."""
    found = [
        Kept(
            json.loads(path.read_text(encoding="utf-8")),
            json.loads((path.parent / "seconds.json").read_text(encoding="utf-8")),
        )
        for path in sorted(out.glob("*/summary.json"))
    ]
    return sorted(found, key=lambda run: run.label)


def tables(runs: Sequence[Kept]) -> Iterator[str]:
    """Markdown: what is in place and what is kept, then what it took."""
    places = " | ".join(
        f"exact at {count:,}" if count == COUNTS[0] else f"{count:,}" for count in COUNTS
    )
    late = "late efficacy | late kept"
    head = f"{places} | {places.replace('exact', 'kept')} | {late} | overlap | norm x"
    yield f"| editor, guard | {head} |"
    yield "|---|" + "---|" * (2 * len(COUNTS) + 4)
    for run in runs:
        exact, ability = run.curve("efficacy_exact"), run.curve("general")
        cells = [f"{curve[count]:.2f}" for curve in (exact, ability) for count in COUNTS]
        final = run.summary["final"]
        for curve in (run.curve("efficacy"), ability):
            cells.append(f"{statistics.fmean(v for at, v in curve.items() if at >= LATE):.2f}")
        cells.append(f"{final['subspace_overlap']:.2f}")
        yield f"| {run.label} | {' | '.join(cells)} | {final['weight_norm_ratio']:.1f} |"
    yield ""
    yield "| editor, guard | edits | minutes | of them probes | a batch, s | peak memory, GB |"
    yield "|---|---|---|---|---|---|"
    for run in runs:
        took = run.summary["seconds"]
        cells = [f"{run.summary['edits']:,}", f"{took['total'] / 60:.0f}"]
        cells += [f"{took['probe'] / 60:.0f}", f"{statistics.median(run.seconds):.1f}"]
        cells.append(f"{run.summary['peak_memory_bytes'] / 1e9:.2f}")
        yield f"| {run.label} | {' | '.join(cells)} |"


def curves(runs: Sequence[Kept]) -> list[StudyFigure]:
    """Edits in place, and ability kept, over the stream: colours are editors, styles guards."""
    editors = sorted({run.label.partition(", ")[0] for run in runs})

    def figure(name: str, metric: str, title: str, axis: str) -> StudyFigure:
        def draw(axes: Axes) -> None:
            for run in runs:
                editor, _, guard = run.label.partition(", ")
                points = run.curve(metric)
                axes.plot(
                    list(points),
                    list(points.values()),
                    STYLES.get(guard.split()[0], "--"),
                    color=f"C{editors.index(editor)}",
                    label=run.label,
                )
            axes.set_xlabel("edits made")
            axes.set_ylabel(axis)
            axes.set_ylim(bottom=0)
            axes.legend(
                frameon=False,
                fontsize="x-small",
                loc="upper center",
                bbox_to_anchor=(0.5, -0.17),
                ncols=2,
            )

        return StudyFigure(name, title, f"{title}, by editor and guard", draw)

    return [
        figure("in-place", "efficacy_exact", "Edits in place", "share answered exactly"),
        figure("ability", "general", "General ability", "share of the unedited model's"),
    ]


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
