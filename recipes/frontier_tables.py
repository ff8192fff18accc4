"""Tables of `frontier.py`, from summaries alone."""

import itertools
import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

Grid = Mapping[str, Mapping[str, Sequence[int]]]


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
        return 2 * self.exact * self.kept / (self.exact + self.kept) if self.exact else 0.0


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
        points = {
            (editor, guard, ridge): found
            for editor, guards in grid.items()
            for guard, ridges in guards.items()
            for ridge in ridges
            if (found := _points(out, editor, guard, ridge, seeds, count))
        }
        print(f"\n### {count} edits: {count / directions:.2f} per {unit}\n")
        _print_points(points)
        print(f"\n#### The frontiers at {count} edits\n")
        _print_frontiers(points, grid)


def _points(
    out: Path, editor: str, guard: str, ridge: int, seeds: Sequence[int], count: int
) -> dict[int, Point]:
    """By seed; runs that are not finished are left out."""
    found: dict[int, Point] = {}
    for seed in seeds:
        path = out / f"{editor}_{guard.replace(' ', '')}_{ridge}_s{seed}" / "summary.json"
        if not path.exists():
            continue
        summary = json.loads(path.read_text(encoding="utf-8"))
        row = next(r for r in summary["curve"] if r["edits"] == count)
        base = summary["unedited"]
        found[seed] = Point(
            exact=row["efficacy_exact"],
            score=row["score"],
            recall=row["fact_recall"] / base["fact_recall"],
            kept=row["general"] / base["general"],
            perplexity=_number(row["perplexity"]) / base["perplexity"],
            growth=row["weight_norm_ratio"],
        )
    return found


def _number(value: float | str) -> float:
    """The journal writes non-finite numbers as strings."""
    return float(value)


def _print_points(points: Mapping[tuple[str, str, int], Mapping[int, Point]]) -> None:
    columns = "exact | score | recall kept | ability kept | ppl x | norm x"
    print(f"| editor | guard | strength | {columns} |")
    print("|---|---|---|---|---|---|---|---|---|")
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
        print(f"| {editor} | {guard} | {ridge} | {' | '.join(cells)} |")


def _print_frontiers(
    points: Mapping[tuple[str, str, int], Mapping[int, Point]], grid: Grid
) -> None:
    print(
        "`best balance`: the highest harmonic mean of exact success and ability kept, over the"
        "\neditor's strength (lambda; L2 of AlphaEdit)."
        "\n`gain`: ability kept, minus what the unguarded editor keeps at the same exact success"
        "\nor more (linear between strengths), mean over the strengths at which the guard does not"
        "\ndominate itself: on both sides, what a user would choose from. A success that the"
        "\nunguarded editor never reaches is left out, and counted as `beyond`.\n"
    )
    print("| editor | guard | best balance | gain at equal success | points | beyond |")
    print("|---|---|---|---|---|---|")
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
                line = _front((f[seed].exact, f[seed].kept) for f in plain.values() if seed in f)
                mine = _front((f[seed].exact, f[seed].kept) for f in arms.values() if seed in f)
                own = [_gain(point, line) for point in mine]
                inside = [gain for gain in own if gain is not None]
                compared += len(inside)
                beyond += len(own) - len(inside)
                if inside:
                    gains.append(statistics.fmean(inside))
            told = _spread(gains, 2, signed=True) if gains else "-"
            numbers = f"{compared} | {beyond}" if guard != "none" else "- | -"
            print(f"| {editor} | {guard} | {_spread(best, 2)} | {told} | {numbers} |")


def _front(points: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """The (success, ability) points that no other is at least as good as in both."""
    every = sorted(set(points))
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
