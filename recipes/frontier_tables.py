"""Tables of `frontier.py`, from summaries alone."""

import itertools
import json
import math
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from revive.run_folder.journal import Journal
from revive.run_folder.summary import summarise
from revive.spec.parsing import load_spec

Grid = Mapping[str, Mapping[str, Sequence[float]]]


@dataclass(frozen=True)
class Point:
    """One run after so many edits.

    Attributes:
        exact: Share of edits whose new object is the greedy answer.
        score: Harmonic mean of efficacy, paraphrase and neighbourhood.
        recall: Recall of facts that were never edited, over the unedited model's.
        kept: General ability over the unedited model's.
        perplexity: Over the unedited model's.
        growth: ||W|| over ||W0||, mean of the edited projections.
    """

    exact: float
    score: float
    recall: float
    kept: float
    perplexity: float
    growth: float

    @property
    def balance(self) -> float:
        """Harmonic mean of exact edit success and general ability kept."""
        whole = self.exact > 0 and self.kept > 0
        return 2 * self.exact * self.kept / (self.exact + self.kept) if whole else 0.0


def print_tables(
    out: Path,
    grid: Grid,
    seeds: Sequence[int],
    counts: Sequence[int],
    directions: int,
    unit: str = "singular direction",
) -> None:
    """Every point, then what each guard does to the frontier of its own editor."""
    for count in counts:
        for line in table_lines(grid_points(out, grid, seeds, count), grid, count):
            heading = line == f"### {count} edits"
            print(f"{line}: {count / directions:.2f} per {unit}" if heading else line)


Points = Mapping[tuple[str, str, float], Mapping[int, Point]]
"""By editor, guard and strength, the point of every seed."""


def arm_name(editor: str, guard: str, ridge: float, seed: int) -> str:
    """Folder of a run."""
    return f"{editor}_{guard.replace(' ', '')}_{ridge}_s{seed}"


def grid_points(out: Path, grid: Grid, seeds: Sequence[int], count: int) -> Points:
    """What is known of a grid after so many edits."""
    return {
        (editor, guard, ridge): found
        for editor, guards in grid.items()
        for guard, ridges in guards.items()
        for ridge in ridges
        if (found := _points(out, editor, guard, ridge, seeds, count))
    }


def table_lines(points: Points, grid: Grid, count: int) -> Iterator[str]:
    """Both tables as Markdown."""
    yield ""
    yield f"### {count} edits"
    yield ""
    yield from _point_lines(points)
    yield ""
    yield f"#### The frontiers at {count} edits"
    yield ""
    yield from frontier_lines(points, grid)


def point_of(summary: Mapping[str, Any], count: int) -> Point | None:
    """A run after so many edits; None where it did not come so far, or did not measure there."""
    row = next((r for r in summary.get("curve", ()) if r["edits"] == count), None)
    if row is None or "efficacy_exact" not in row or "general" not in row:
        return None
    base = summary["unedited"]
    return Point(
        exact=row["efficacy_exact"],
        score=row["score"],
        recall=_over(row["fact_recall"], base["fact_recall"]),
        kept=_over(row["general"], base["general"]),
        perplexity=_over(_number(row["perplexity"]), base["perplexity"]),
        growth=row["weight_norm_ratio"],
    )


def _points(
    out: Path, editor: str, guard: str, ridge: float, seeds: Sequence[int], count: int
) -> dict[int, Point]:
    """By seed; of runs that have come so far."""
    summaries = {seed: _summary(out / arm_name(editor, guard, ridge, seed)) for seed in seeds}
    points = {seed: point_of(summary, count) for seed, summary in summaries.items()}
    return {seed: point for seed, point in points.items() if point is not None}


def _summary(folder: Path) -> dict[str, Any]:
    """A run's summary; of one that is not finished, what its journal says so far."""
    if (folder / "summary.json").exists():
        return json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    if not (folder / "journal.jsonl").exists():
        return {}
    events = Journal.read(folder / "journal.jsonl")
    return summarise(load_spec(folder / "spec.yaml"), folder.name, events)


def _over(value: float, before: float) -> float:
    """A measure over the unedited model's; NaN where that had nothing to lose."""
    return value / before if before else math.nan


def _number(value: float | str) -> float:
    """The journal writes non-finite numbers as strings."""
    return float(value)


def _point_lines(points: Points) -> Iterator[str]:
    columns = "exact | score | recall kept | ability kept | ppl x | norm x"
    yield f"| editor | guard | strength | {columns} |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for (editor, guard, ridge), found in points.items():
        cells = [
            _spread([getattr(p, name) for p in found.values()], digits)
            for name, digits in (
                ("exact", 2),
                ("score", 2),
                ("recall", 2),
                ("kept", 2),
                ("perplexity", 2),
                ("growth", 1),
            )
        ]
        yield f"| {editor} | {guard} | {ridge} | {' | '.join(cells)} |"


def frontier_lines(points: Points, grid: Grid) -> Iterator[str]:
    """What guards do to the frontiers, as Markdown."""
    yield (
        "`best balance`: the highest harmonic mean of exact success and ability kept, over the"
        "\neditor's strength (lambda; L2 of AlphaEdit; learning rate of fine-tuning)."
        "\n`gain`: ability kept, minus what the unguarded editor keeps at the same exact success"
        "\nor more (linear between strengths), mean over the strengths at which the guard does not"
        "\ndominate itself: on both sides, what a user would choose from. A success that the"
        "\nunguarded editor never reaches is left out, and counted as `beyond`.\n"
    )
    yield "| editor | guard | best balance | gain at equal success | points | beyond |"
    yield "|---|---|---|---|---|---|"
    for editor, guards in grid.items():
        for guard in guards:
            arms = {r: f for (e, g, r), f in points.items() if (e, g) == (editor, guard)}
            plain = {r: f for (e, g, r), f in points.items() if (e, g) == (editor, "none")}
            if not arms:
                continue
            seeds = sorted({seed for found in arms.values() for seed in found})
            best = [max(f[s].balance for f in arms.values() if s in f) for s in seeds]
            gains: list[float] = []
            compared = beyond = 0
            for seed in seeds if guard != "none" else ():
                line = _front(f[seed] for f in plain.values() if seed in f)
                mine = _front(f[seed] for f in arms.values() if seed in f)
                own = [_gain(point, line) for point in mine]
                inside = [gain for gain in own if gain is not None]
                compared += len(inside)
                beyond += len(own) - len(inside)
                if inside:
                    gains.append(statistics.fmean(inside))
            told = _spread(gains, 2, signed=True) if gains else "-"
            numbers = f"{compared} | {beyond}" if guard != "none" else "- | -"
            yield f"| {editor} | {guard} | {_spread(best, 2)} | {told} | {numbers} |"


def _front(points: Iterable[Point]) -> list[tuple[float, float]]:
    """The (success, ability) points that no other is at least as good as in both."""
    every = sorted({(p.exact, p.kept) for p in points if math.isfinite(p.kept)})
    return [p for p in every if not any(q != p and q[0] >= p[0] and q[1] >= p[1] for q in every)]


def _gain(point: tuple[float, float], front: Sequence[tuple[float, float]]) -> float | None:
    """Ability kept above a frontier of (success, ability) points at equal success or more."""
    exact, kept = point
    if not front or exact > front[-1][0]:
        return None
    if exact <= front[0][0]:
        return kept - front[0][1]
    for (low, above), (high, below) in itertools.pairwise(front):
        if low <= exact <= high:
            part = (exact - low) / (high - low)
            return kept - (above + part * (below - above))
    return None


def _spread(values: Sequence[float], digits: int, *, signed: bool = False) -> str:
    """Mean, and the standard deviation over seeds where there are several."""
    if not values:
        return "-"
    sign = "+" if signed else ""
    mean = f"{statistics.fmean(values):{sign}.{digits}f}"
    if len(values) < 2:
        return f"{mean} (1 seed)"
    few = "" if len(values) > 2 else f" ({len(values)} seeds)"
    return f"{mean} ± {statistics.stdev(values):.{digits}f}{few}"
