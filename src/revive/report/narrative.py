"""One paragraph that says what happened, derived from the numbers by stated thresholds."""

import math
from collections.abc import Sequence

from revive.report.cautions import cautions
from revive.report.compare import (
    COLLAPSE_DROP,
    COLLAPSE_KEPT,
    COLLAPSE_PERPLEXITY,
    NOISE,
    Comparison,
    balance,
    collapse,
    compare,
    success,
)
from revive.report.reading.load import UNGUARDED, RunRecord

TOLD = 3
"""Up to this many guarded arms are each told; of more, the strongest ones."""


def narrative(records: Sequence[RunRecord]) -> str:
    """Say in one paragraph what the runs show, including where they show nothing.

    Args:
        records: All arms; roles decide which is the baseline, the guarded arm and the control.
    """
    baselines = [r for r in records if r.role == "baseline"]
    controls = sorted((r for r in records if r.role == "control"), key=balance)[-1:]
    with_guard = [r for r in records if r.role in ("guarded", "best") and r.guard not in UNGUARDED]
    guarded = _spokesmen(with_guard, baselines)
    partners = [_partner(record, baselines) for record in guarded]
    told = list(dict.fromkeys(p.label for p in partners if p is not None))
    shown = [b for b in baselines if b.label in told] or baselines[:1]
    sentences = [_baseline(record) for record in shown]
    if not any(collapse(r) for r in records):
        sentences.append(_nothing(guarded))
    sentences += [_guard(r, base) for r, base in zip(guarded, partners, strict=True)]
    if guarded and controls:
        sentences.append(_control(controls[-1], _rival(controls[-1], with_guard)))
    elif controls:
        sentences.append(f"The control {controls[-1].label} {_standing(controls[-1])}.")
    sentences.append(_others(records, [*shown, *guarded, *controls]))
    sentences += _drift(shown, guarded)
    sentences += cautions(records)
    return " ".join(s for s in sentences if s)


def thresholds() -> str:
    """The rules that the paragraph follows, for the small print."""
    return (
        f"Edit success is the score. Two arms within {NOISE:.2f}, or within the 95 % binomial "
        "interval of their difference where the number of measured edits is known, are within "
        "noise of each other. A run collapsed if at its end the score is "
        f"{COLLAPSE_DROP:.2f} or more below its own peak, less than {COLLAPSE_KEPT:.2f} of the "
        f"unedited general ability is kept, or the perplexity is {COLLAPSE_PERPLEXITY:.0f} times "
        "the unedited one or more. A guarded arm is compared with the unguarded arm of the same "
        "editor, a control with the strongest guarded arm of its editor: the one with the highest "
        "harmonic mean of score and ability kept."
    )


def _baseline(record: RunRecord) -> str:
    fall = collapse(record)
    after = f"After {record.edits:,} edits without a guard, {record.label} {_standing(record)}"
    if fall is None:
        return f"{after}: it did not collapse."
    return f"{after}: it collapsed by edit {fall.edits:,} ({fall.reason})."


def _spokesmen(
    guarded: Sequence[RunRecord], baselines: Sequence[RunRecord]
) -> tuple[RunRecord, ...]:
    """All of a few; of many the strongest that differs by the guard alone, and the strongest."""
    if len(guarded) <= TOLD:
        return tuple(guarded)
    editors = {b.editor for b in baselines}
    alike = sorted((r for r in guarded if r.editor in editors), key=balance)[-1:]
    top = sorted(guarded, key=balance)[-1:]
    return tuple(alike + [r for r in top if r not in alike])


def _rival(control: RunRecord, guarded: Sequence[RunRecord]) -> RunRecord:
    """The strongest guarded arm, of the control's own editor if there is one."""
    same = [r for r in guarded if r.editor == control.editor]
    return max(same or guarded, key=balance)


def _others(records: Sequence[RunRecord], told: Sequence[RunRecord]) -> str:
    labels = {r.label for r in told}
    rest = [r for r in records if r.label not in labels]
    fallen = sum(collapse(r) is not None for r in rest)
    if not rest:
        return ""
    arms = "the other arm" if len(rest) == 1 else f"the other {len(rest)} arms"
    return f"Of {arms}, {fallen or 'none'} collapsed."


def _fate(record: RunRecord, other: RunRecord) -> str:
    """How the two ends differ in collapse, as a last clause."""
    fall, fell = collapse(record), collapse(other)
    if fall is None:
        return ", and it did not collapse" if fell is not None else ""
    return f", and it collapsed{' too' if fell else ''} by edit {fall.edits:,} ({fall.reason})"


def _nothing(guarded: Sequence[RunRecord]) -> str:
    text = "Nothing collapsed in this stream"
    if not guarded:
        return f"{text}."
    return f"{text}, so it cannot show whether the guard prevents collapse."


def _guard(record: RunRecord, base: RunRecord | None) -> str:
    stands = f"{record.label} {_standing(record)}"
    if base is None:
        return f"{stands}; no unguarded arm was run, so what the guard did is not known."
    found = compare(record, base)
    name = base.label
    if found.verdict == "unknown":
        return f"{stands}; nothing that it shares with {name} was measured."
    if base.editor != record.editor:
        return (
            f"{stands}, {_axes(found, name)}{_fate(record, base)}; it changes the editor too, so "
            "this is not the guard's doing alone."
        )
    heads = {
        "tied": "The guard did not help",
        "worse": "The guard hurt",
        "traded": "The guard traded one for the other",
        "better": "The guard helped",
    }
    return f"{heads[found.verdict]}: {stands}, {_axes(found, name)}{_fate(record, base)}."


def _control(control: RunRecord, best: RunRecord) -> str:
    found = compare(control, best)
    stands = f"the control {control.label} {_standing(control)}"
    sides = f"{_axes(found, best.label)}{_fate(control, best)}"
    if found.verdict == "better":
        return (
            f"But {stands}, {sides}: the control wins, and this run gives no "
            "reason to prefer the guard."
        )
    if found.verdict == "tied":
        return f"But {stands}, {sides}: what the guard brings here can be had without it."
    if found.verdict == "traded":
        return f"Against that, {stands}, {sides}: neither wins outright."
    if found.verdict == "worse":
        return f"For comparison, {stands}, {sides}: the control does not reach what the guard does."
    return ""


def _drift(baselines: Sequence[RunRecord], guarded: Sequence[RunRecord]) -> list[str]:
    ends = [
        f"{overlap:.2f} with {record.label}"
        for record in (*baselines[:1], *sorted(guarded, key=balance)[-1:])
        if (overlap := record.value("subspace_overlap")) is not None
    ]
    if not ends:
        return []
    return [f"Overlap of the dominant subspace with the original ended at {' and '.join(ends)}."]


def _partner(record: RunRecord, baselines: Sequence[RunRecord]) -> RunRecord | None:
    same = [b for b in baselines if b.editor == record.editor]
    return next(iter([*same, *baselines]), None)


def _standing(record: RunRecord) -> str:
    parts: list[str] = []
    value, kept = success(record), record.kept()
    if value is not None and math.isfinite(value):
        name = "a score" if "score" in record.final else "an efficacy"
        parts.append(f"has {name} of {value:.2f}")
    if kept is not None and math.isfinite(kept):
        parts.append(f"keeps {kept:.2f} of the unedited general ability")
    return " and ".join(parts) or "has no finite result"


def _axes(found: Comparison, name: str) -> str:
    words = {"higher": "higher than", "lower": "lower than", "same": "within noise of"}
    edits, ability = found.success, found.ability
    if edits is not None and edits == ability:
        return f"{words[edits]} {name} on edit success and on general ability"
    parts: list[str] = []
    if edits is not None:
        parts.append(f"{words[edits]} {name} on edit success")
    if ability is not None:
        parts.append(f"{words[ability]} {'it' if parts else name} on general ability")
    return " and ".join(parts)
