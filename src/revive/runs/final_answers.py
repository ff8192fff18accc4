"""What a run's model says at its end where edits were made, beside what it said before them.

The unedited model's answers are taken at the end too, on the original weights, which the ledger
puts back to the bit: so the same edits are asked both times, whatever was resumed in between.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from revive.data.edits import Edit
from revive.metrics.outcomes import Outcomes
from revive.metrics.per_edit import EditRow, EditTable
from revive.models.forward.precision import products
from revive.models.ledger import Ledger
from revive.models.loading import LoadedModel
from revive.probes.answers import answers, edit_row
from revive.probes.edits import score_edits
from revive.run_folder.edit_table import last_outcomes
from revive.run_folder.known_files import Known
from revive.run_folder.reasons import WEAK, Why, explained, known_reasons, too_weak
from revive.run_folder.store import RunFolder
from revive.run_folder.summary import standing
from revive.runs.subject_notes import shared_keys, subject_note
from revive.spec.schema import RunSpec

ANSWERED = 200
"""Edits whose answers are written out; those that did not take come first."""

ALL = 20
"""Of so many edits every one is scored, whatever sample a probe measured."""

Events = Sequence[Mapping[str, Any]]


def ask(
    folder: RunFolder,
    spec: RunSpec,
    loaded: LoadedModel,
    ledger: Ledger,
    edits: Sequence[Edit],
    events: Events,
) -> EditTable:
    """Ask the edited and the unedited model for a run's edits, and say why some did not take.

    Args:
        folder: The run's; outcomes that a probe has stored are not measured again.
        spec: Its spec.
        loaded: The model, with all edits in it.
        ledger: Of its weights.
        edits: Those that stand, in order.
        events: The run's journal.
    """
    model, tokenizer = loaded.model, loaded.tokenizer
    with products(spec.model.precision):
        outcomes = _outcomes(last_outcomes(folder, events), edits, loaded, spec.seed)
        place = {edit: i for i, edit in enumerate(outcomes.ids)}
        rows = [edit_row(edit, outcomes, place.get(edit.id)) for edit in edits]
        asked = [i for i, row in enumerate(rows) if row.reached is not None]
        chosen = sorted(sorted(asked, key=lambda i: rows[i].reached is True)[:ANSWERED])
        texts = [edits[i] for i in chosen]
        now = answers(model, tokenizer, texts)
        with ledger.pristine():
            before = answers(model, tokenizer, texts)
    for i, old, new in zip(chosen, before, now, strict=True):
        rows[i] = replace(rows[i], before=old, now=new)
    rows = _explained(rows, edits, tokenizer, folder, events)
    kept = tuple(row for row in rows if row.reached is not None or row.cause)
    return EditTable(kept, len(edits), _note(kept))


def _note(rows: Sequence[EditRow]) -> str:
    silent = sum(row.reached is not None and row.now is None for row in rows)
    if not silent:
        return ""
    return f"Answers are written out for {ANSWERED} edits, those that did not take first."


def _outcomes(
    known: Outcomes | None, edits: Sequence[Edit], loaded: LoadedModel, seed: int
) -> Outcomes:
    """What a probe measured; without one a sample, and of a few edits every one."""
    found = Outcomes((), {}) if known is None else known
    missing = [edit for edit in edits if edit.id not in set(found.ids)]
    if len(edits) > ALL:
        # A probe's sample is as large as was asked for.
        chosen = random.Random(f"{seed}:answers").sample(missing, min(ANSWERED, len(missing)))
        missing = [] if known is not None else chosen
    if not missing:
        return found
    scores = score_edits(loaded.model, loaded.tokenizer, missing, made=edits)
    return found.joined(scores.outcomes([edit.id for edit in missing]))


def _explained(
    rows: Sequence[EditRow],
    edits: Sequence[Edit],
    tokenizer: Any,
    folder: RunFolder,
    events: Events,
) -> list[EditRow]:
    """The rows with every reason that journal, tokens and earlier measurements give."""
    reasons, weak = known_reasons(events), too_weak(events)
    shared = shared_keys(edits)
    missed = {row.id for row in rows if row.reached is False}
    held = _held_before(folder, events, missed)
    found: list[EditRow] = []
    for row, edit in zip(rows, edits, strict=True):
        why = list(reasons.get(row.id, ()))
        if row.id in missed and not any(w.cause == "failed" for w in why):
            if edit.id in shared:
                text = f"its text up to the subject is that of edit {shared[edit.id]} too"
                why.append(Why("shared", f"{text}: one place must hold both answers"))
            note = subject_note(tokenizer, edit)
            if note:
                why.append(Why("subject", note))
            if edit.id in held:
                why.append(
                    Why("lost", f"it answered after edit {held[edit.id]:,}, and does not now")
                )
            if not why and edit.id in weak:
                why.append(WEAK)
        found.append(explained(row, why))
    return found


def _held_before(folder: RunFolder, events: Events, missed: set[str]) -> dict[str, int]:
    """By id, the latest number of edits after which an edit was measured to answer."""
    found: dict[str, int] = {}
    known = Known.of(events)
    for event in standing(events):
        if event["event"] != "measure" or "edits" not in event.get("probes", ()):
            continue
        step = event["step"]
        outcomes = folder.load_outcomes(step, "edits", known) if step else None
        exact = None if outcomes is None else outcomes.columns.get("efficacy_exact")
        if outcomes is None or exact is None:
            continue
        for edit, value in zip(outcomes.ids, exact, strict=True):
            if edit in missed and value > 0:
                found[edit] = event["edits"]
    return found
