"""A level on one measure: how it is fitted to runs, and how an alarm on it is judged. No torch.

Ability is lost when it first falls below `LOST` of the unedited model's, linear between two
measurements. An alarm is

- in time: raised before the loss, at most `horizon` edits before;
- missed: ability is lost and no alarm was raised before;
- false: raised, and no loss follows within `horizon` edits.

Without the horizon an alarm after the first batch would always be right. On the training runs, too
far is the side on which ability is lower (rank correlation), and the level is the one with the
smallest sum of misses and false alarms; of several equally good ones the middle one is taken.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from revive.runs.alarm import crossed
from revive.studies.drift_study.traces import KEPT, Trace
from revive.studies.resampling import spearman

LOST = 0.95

Outcome = Literal["in time", "missed", "false", "quiet"]


@dataclass(frozen=True)
class Case:
    """A run as the alarm sees it.

    Attributes:
        group: Its arm.
        edits: Edits at the measurements after the first edit.
        values: The measure there.
        ability: General ability kept there, where it was measured.
        lost: Edits at which ability was lost, None if it never was.
    """

    group: str
    edits: tuple[int, ...]
    values: tuple[float, ...]
    ability: tuple[float | None, ...]
    lost: float | None


def cases(traces: Sequence[Trace], measure: str) -> list[Case]:
    """Runs that have the measure and general ability."""
    found: list[Case] = []
    for trace in traces:
        edits, values = trace.series(measure)
        if KEPT not in trace.values or not [n for n in edits if n]:
            continue
        after = [(n, v) for n, v in zip(edits, values, strict=True) if n]
        lost = trace.first_below(KEPT, LOST)
        ability = tuple(trace.values[KEPT].get(n) for n, _ in after)
        found.append(
            Case(trace.group, tuple(n for n, _ in after), tuple(v for _, v in after), ability, lost)
        )
    return found


def fit(runs: Sequence[Case], horizon: int) -> tuple[bool, float]:
    """Whether too far is above, and the level with the fewest misses and false alarms."""
    seen = sorted({value for run in runs for value in run.values})
    # The ends stand for an alarm at once, and for none at all.
    levels = sorted([seen[0], *((a + b) / 2 for a, b in itertools.pairwise(seen)), seen[-1]])
    up = _above(runs)
    scored: list[tuple[int, float]] = []
    for level in levels:
        outcomes = [judge(run, level, horizon, above=up)[0] for run in runs]
        scored.append((sum(o in ("missed", "false") for o in outcomes), level))
    fewest = min(score for score, _ in scored)
    best = [level for score, level in scored if score == fewest]
    return up, best[len(best) // 2]


def _above(runs: Sequence[Case]) -> bool:
    """Whether ability is lower where the measure is higher."""
    pairs = [
        (value, ability)
        for run in runs
        for value, ability in zip(run.values, run.ability, strict=True)
        if ability is not None
    ]
    if not pairs:
        return True
    return spearman(np.array([a for a, _ in pairs]), np.array([b for _, b in pairs])) < 0


def judge(run: Case, level: float, horizon: int, *, above: bool) -> tuple[Outcome, float | None]:
    """What an alarm on this run would have been, and its lead if it was in time."""
    at = crossed(run.values, level, above=above)
    raised = None if at is None else run.edits[at]
    if run.lost is not None and (raised is None or raised >= run.lost):
        return "missed", None
    if raised is None:
        return "quiet", None
    if run.lost is not None and run.lost - raised <= horizon:
        return "in time", run.lost - raised
    # The run was over before the horizon: whether ability would have been lost is not known, and
    # the alarm is given no benefit of the doubt.
    return "false", None
