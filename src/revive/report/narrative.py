"""One paragraph that says what happened, derived from the numbers by stated thresholds."""

from collections.abc import Sequence

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
from revive.report.load import RunRecord


def narrative(records: Sequence[RunRecord]) -> str:
    """Say in one paragraph what the runs show, including where they show nothing.

    Args:
        records: All arms; roles decide which is the baseline, the guarded arm and the control.
    """
    baselines = [r for r in records if r.role == "baseline"]
    guarded = [r for r in records if r.role in ("guarded", "best")]
    controls = [r for r in records if r.role == "control"]
    sentences = [_baseline(record) for record in baselines]
    if any(collapse(r) for r in records):
        sentences += [_outcome(r) for r in controls + guarded if collapse(r)]
    else:
        sentences.append(_nothing(guarded))
    sentences += [_guard(record, _partner(record, baselines)) for record in guarded]
    if guarded and controls:
        sentences.append(_control(max(controls, key=balance), max(guarded, key=balance)))
    sentences += _drift(baselines, guarded)
    sentences += _cautions(records)
    return " ".join(s for s in sentences if s)


def thresholds() -> str:
    """The rules that the paragraph follows, for the small print."""
    return (
        f"Edit success is the score. Two arms within {NOISE:.2f}, or within the 95 % binomial "
        "interval of their difference where the number of measured edits is known, are within "
        "noise of each other. A run collapsed if at its end the score is "
        f"{COLLAPSE_DROP:.2f} or more below its own peak, less than {COLLAPSE_KEPT:.2f} of the "
        f"unedited general ability is kept, or the perplexity is {COLLAPSE_PERPLEXITY:.0f} times "
        "the unedited one or more. The strongest arm is the one with the highest harmonic mean of "
        "score and ability kept."
    )


def _baseline(record: RunRecord) -> str:
    fall = collapse(record)
    after = f"After {record.edits:,} edits without a guard, {record.label} {_standing(record)}"
    if fall is None:
        return f"{after}: it did not collapse."
    return f"{after}: it collapsed by edit {fall.edits:,} ({fall.reason})."


def _outcome(record: RunRecord) -> str:
    fall = collapse(record)
    return f"{record.label} collapsed by edit {fall.edits:,} ({fall.reason})." if fall else ""


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
            f"{stands}, {_axes(found, name)}; it changes the editor too, so this is not the "
            "guard's doing alone."
        )
    if found.verdict == "tied":
        return f"The guard did not help: {stands}, within noise of {name}."
    if found.verdict == "worse":
        return f"The guard hurt: {stands}, {_axes(found, name)}."
    if found.verdict == "traded":
        return f"The guard traded one for the other: {stands}, {_axes(found, name)}."
    saved = collapse(base) is not None and collapse(record) is None
    end = " and it did not collapse" if saved else ""
    return f"The guard helped: {stands}, {_axes(found, name)}{end}."


def _control(control: RunRecord, best: RunRecord) -> str:
    found = compare(control, best)
    stands = f"the control {control.label} {_standing(control)}"
    if found.verdict == "better":
        return (
            f"But {stands}, {_axes(found, best.label)}: the control wins, and this run gives no "
            "reason to prefer the guard."
        )
    if found.verdict == "tied":
        return (
            f"But {stands}, within noise of {best.label}: what the guard brings here can be had "
            "without it."
        )
    if found.verdict == "traded":
        return f"Against that, {stands}, {_axes(found, best.label)}: neither wins outright."
    if found.verdict == "worse":
        return (
            f"For comparison, {stands}, {_axes(found, best.label)}: the control does not reach "
            "what the guard does."
        )
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


def _cautions(records: Sequence[RunRecord]) -> list[str]:
    found: list[str] = []
    for what, values in (
        ("model", {r.model for r in records}),
        ("number of edits", {r.edits for r in records}),
        ("order of the edits", {(r.order, r.seed) for r in records}),
    ):
        if len(values) > 1:
            found.append(f"The arms differ in the {what}: read the comparison with care.")
    unfinished = [f"{r.label} (at edit {r.edits:,})" for r in records if not r.finished]
    if unfinished:
        found.append(f"Not finished: {', '.join(unfinished)}.")
    failed = [f"{len(r.failed):,} in {r.label}" for r in records if r.failed]
    if failed:
        found.append(f"Edits that failed: {', '.join(failed)}.")
    if len(records) > 1 and len({(r.order, r.seed) for r in records}) == 1:
        found.append("All arms saw one order of the edits; nothing is averaged over orders.")
    return found


def _partner(record: RunRecord, baselines: Sequence[RunRecord]) -> RunRecord | None:
    same = [b for b in baselines if b.editor == record.editor]
    return next(iter([*same, *baselines]), None)


def _standing(record: RunRecord) -> str:
    parts: list[str] = []
    value, kept = success(record), record.kept()
    if value is not None:
        name = "a score" if "score" in record.final else "an efficacy"
        parts.append(f"has {name} of {value:.2f}")
    if kept is not None:
        parts.append(f"keeps {kept:.2f} of the unedited general ability")
    return " and ".join(parts) or "was not measured"


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
