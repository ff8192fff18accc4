"""When two arms differ, and when a run collapsed: the thresholds behind the report's words."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from revive.report.reading.load import RunRecord

NOISE = 0.02
"""Absolute differences up to this are noise, whatever the sample."""

Z95 = 1.96

COLLAPSE_DROP = 0.20
"""Loss of score below the run's own peak that counts as collapse."""

COLLAPSE_KEPT = 0.80
"""Share of the unedited general ability under which a run counts as collapsed."""

COLLAPSE_PERPLEXITY = 3.0
"""Growth of perplexity over the unedited model that counts as collapse."""

_TELLING = {"score", "efficacy", "general", "perplexity"}

Relation = Literal["higher", "lower", "same"]
Verdict = Literal["better", "worse", "tied", "traded", "unknown"]


def wilson(share: float, n: int) -> tuple[float, float]:
    """95 % Wilson interval of a share measured on `n` edits."""
    z2 = Z95 * Z95
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z95 * math.sqrt(max(share * (1 - share), 0.0) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return max(0.0, centre - half), min(1.0, centre + half)


def score_error(metrics: Mapping[str, float], n: int | None) -> float:
    """Standard error of the score, by the delta method from its three shares; 0 if unknown."""
    shares = [metrics.get(name) for name in ("efficacy", "paraphrase", "neighborhood")]
    known = [s for s in shares if s is not None and math.isfinite(s) and s > 0]
    if not n or len(known) < 3:
        return 0.0
    score = 3 / sum(1 / s for s in known)
    variance = sum((score**2 / (3 * s**2)) ** 2 * max(s * (1 - s), 0.0) / n for s in known)
    return math.sqrt(variance)


def relation(a: float | None, b: float | None, error: float = 0.0) -> Relation | None:
    """How `a` stands to `b`; None if either is missing or not finite.

    Args:
        a: One value.
        b: The other.
        error: Standard error of the difference, where known.
    """
    if a is None or b is None or not math.isfinite(a) or not math.isfinite(b):
        return None
    if abs(a - b) <= max(NOISE, Z95 * error) + 1e-12:
        return "same"
    return "higher" if a > b else "lower"


@dataclass(frozen=True, slots=True)
class Comparison:
    """How arm `a` stands to arm `b` on edit success and on ability kept."""

    success: Relation | None
    ability: Relation | None

    @property
    def verdict(self) -> Verdict:
        """Better or worse only if no known axis says the opposite."""
        known = {self.success, self.ability} - {None}
        if not known:
            return "unknown"
        if {"higher", "lower"} <= known:
            return "traded"
        if "higher" in known:
            return "better"
        return "worse" if "lower" in known else "tied"


def success(record: RunRecord) -> float | None:
    """Edit success at the end: the score, or the efficacy where no score was measured."""
    score = record.value("score")
    return score if score is not None else record.value("efficacy")


def compare(a: RunRecord, b: RunRecord) -> Comparison:
    """Compare the ends of two runs."""
    error = math.hypot(score_error(a.final, a.sample), score_error(b.final, b.sample))
    return Comparison(relation(success(a), success(b), error), relation(a.kept(), b.kept()))


def balance(record: RunRecord) -> float:
    """Harmonic mean of edit success and ability kept: one number to pick the strongest arm."""
    parts = [x for x in (success(record), record.kept()) if x is not None]
    if not parts or any(not math.isfinite(x) or x <= 0 for x in parts):
        return 0.0
    return len(parts) / sum(1 / x for x in parts)


@dataclass(frozen=True, slots=True)
class Collapse:
    """Where a run first crossed a threshold, and which.

    Attributes:
        edits: Number of edits at the first measurement beyond a threshold.
        reason: Clause that says what happened, for the middle of a sentence.
    """

    edits: int
    reason: str


def collapse(record: RunRecord) -> Collapse | None:
    """The first measurement beyond a collapse threshold that the run did not recover from.

    A threshold counts only if the last measurement is beyond it as well: a dip is no collapse.
    """
    rows: list[tuple[int, Mapping[str, float]]] = [(p.edits, p.metrics) for p in record.curve]
    rows.append((record.edits, record.final))
    peak = -math.inf
    since: int | None = None
    for edits, metrics in rows:
        value = metrics.get("score", metrics.get("efficacy"))
        if value is not None and math.isfinite(value):
            peak = max(peak, value)
        if not _TELLING & metrics.keys():
            continue  # only the spectrum was measured here
        if not _broken(record, metrics, peak):
            since = None
        elif since is None:
            since = edits
    if since is None:
        return None
    return Collapse(since, ", ".join(_broken(record, record.final, peak)))


def _broken(record: RunRecord, metrics: Mapping[str, float], peak: float) -> list[str]:
    reasons: list[str] = []
    value = metrics.get("score", metrics.get("efficacy"))
    if value is not None and not math.isfinite(value):
        reasons.append("its score is no longer a finite number")
    elif value is not None and peak - value >= COLLAPSE_DROP:
        reasons.append(f"its score ended {peak - value:.2f} below its own peak of {peak:.2f}")
    kept = record.kept(metrics)
    if kept is not None and not math.isfinite(kept):
        reasons.append("its general ability is no longer a finite number")
    elif kept is not None and kept < COLLAPSE_KEPT:
        reasons.append(f"it kept {kept:.2f} of the unedited general ability")
    now, before = metrics.get("perplexity"), record.unedited.get("perplexity")
    if now is not None and before is not None and math.isfinite(before) and before > 0:
        if not math.isfinite(now):
            reasons.append("its perplexity is no longer a finite number")
        elif now / before >= COLLAPSE_PERPLEXITY:
            reasons.append(f"its perplexity grew {now / before:,.0f} times")
    return reasons
