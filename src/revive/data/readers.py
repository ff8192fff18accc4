"""Load a stream of edits: detect the format, check every record, then settle repeats.

Everything is read and checked before anything else happens, so that a bad line costs seconds
and never a half-edited model.
"""

import hashlib
import json
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from revive import registry
from revive.data.check import check_edit
from revive.data.edits import Edit, Form
from revive.data.formats.bad_lines import Bad, listed
from revive.data.formats.dataset import Dataset
from revive.data.formats.records import Record, read_records
from revive.data.joining import AUTO, PUBLISHED
from revive.data.repeats import Conflict, LocatedEdit, OnConflict, Repeat, settle
from revive.errors import SpecError
from revive.wording import counted

_LOG = logging.getLogger(__name__)
_LAB = "lab"
# Most specific first: nearly every format has the edit file's fields.
_DETECTABLE = (
    *("csv", "counterfact", "mquake", "zsre", "wikibigedit", "knowedit", "counterfact-flat"),
    "jsonl",
)


@dataclass(frozen=True, slots=True)
class LoadedEdits:
    """A stream of edits that is ready to be made.

    Attributes:
        edits: Checked, each with an id; of distinct facts, unless they are a sequence.
        duplicates: Records that said the same as an earlier one; dropped.
        conflicts: Records that contradict an earlier one, which they replaced, or will replace in
            the course of a sequence.
        skipped: Places of published records that hold nothing to write.
        bad: Why records were left out that cannot be used, one message each.
        format: Name of the format.
        fingerprint: SHA-256 of the edits' content and order.
    """

    edits: tuple[Edit, ...]
    duplicates: tuple[Repeat, ...]
    conflicts: tuple[Conflict, ...]
    skipped: tuple[str, ...]
    format: str
    fingerprint: str
    bad: tuple[str, ...] = ()


def load_edits(
    path: str | Path,
    *,
    format: str = "auto",
    limit: int | None = None,
    on_conflict: OnConflict = "error",
    seed: int = 0,
    skip_bad: bool = False,
    chat: Form | None = None,
    joiner: str | None = None,
) -> LoadedEdits:
    """Read edits.

    Args:
        path: A file, or `lab` for edits of the lab model's facts.
        format: One of `revive list datasets`, or `auto` to see it from the content.
        limit: Keep the first so many edits, repeats not counted; an edit in both forms is two. The
            whole file is checked all the same, but repeats beyond the limit are of no concern.
        on_conflict: Whether edits that contradict each other are refused, the last one wins, or all
            are made in sequence; of `lab`, a sequence may be longer than there are facts.
        seed: Which stream `lab` draws.
        skip_bad: Leave out records that cannot be used, with a warning.
        chat: The form of all edits, instead of their own; see `Edit`.
        joiner: What joins prompts and targets of all edits, instead of their own.

    Raises:
        SpecError: The file cannot be read, records are malformed (all are counted, and the first
            ten told), or edits contradict each other.
    """
    if limit is not None and limit < 1:
        raise SpecError(f"edits.limit: must be at least 1, got {limit}.")
    name = str(path)
    if name == _LAB and format == "auto":
        format = _LAB
    bad = Bad()
    if format == "auto":
        records = read_records(path, bad)
        dataset = _detect(records[0], bad)
    else:
        registry.require("datasets", format)
        dataset = _dataset(format)
        drawn = dataset.sequence if on_conflict == "sequence" else dataset.records
        if type(dataset).records is Dataset.records:
            records = read_records(path, bad)
        else:
            records = list(drawn(name, limit=limit, seed=seed))
    _warn_unknown(name, dataset, records)
    placed, skipped = _convert(dataset, records, bad, chat, joiner)
    if not skip_bad or not placed:
        bad.refuse(name)
    settled = settle(placed, limit=limit, on_conflict=on_conflict)
    edits = settled.edits
    if not edits:
        raise SpecError(f"{name}: holds no edits; every record is without a target.")
    left_out = tuple(map(str, bad.found))
    if left_out:
        what = f"{name}: left out {counted(len(left_out), 'record')} that cannot be used:"
        _LOG.warning("%s", "\n  ".join((what, *listed(left_out))))
    replaced = "to be replaced" if on_conflict == "sequence" else "replaced"
    _report(name, len(settled.duplicates), len(settled.conflicts), replaced, len(skipped))
    _warn_of_blanks(name, placed)
    return LoadedEdits(
        edits=edits,
        duplicates=settled.duplicates,
        conflicts=settled.conflicts,
        skipped=skipped,
        format=dataset.name,
        fingerprint=fingerprint(edits),
        bad=left_out,
    )


def fingerprint(edits: Sequence[Edit]) -> str:
    """SHA-256 of edits in their order.

    A run is refused when it changes, so it covers what it always did: the edits, paraphrases and
    neighbours, not the questions that later versions read besides; and form and joiner where an
    edit has some of its own.
    """
    digest = hashlib.sha256()
    for edit in edits:
        neighbors = [(n.prompt, n.target) for n in edit.neighborhood]
        fields = (
            *(edit.id, edit.prompt, edit.subject, edit.target_new, edit.target_true),
            *(edit.paraphrases, neighbors, edit.relation),
            *((edit.chat,) if edit.chat else ()),
            *((edit.joiner,) if edit.joiner not in (AUTO, PUBLISHED) else ()),
        )
        digest.update(json.dumps(fields).encode() + b"\n")
    return digest.hexdigest()


def _detect(first: Record, bad: Bad) -> Dataset:
    foreign = [n for n in registry.names("datasets") if not registry.is_builtin("datasets", n)]
    for format in (*_DETECTABLE, *foreign):
        dataset = _dataset(format)
        if dataset.matches(first):
            return dataset
    unknown = SpecError(
        f"{first.where}: format not recognised (fields: {', '.join(first.fields) or 'none'}). "
        "An edit needs prompt, subject and target_new; for another format set edits.format, one "
        f"of {', '.join(registry.names('datasets'))}."
    )
    bad.found.insert(0, unknown)
    bad.refuse(first.where.partition(", line")[0])
    raise unknown


def _dataset(format: str) -> Dataset:
    return cast("type[Dataset]", registry.load("datasets", format))()


def _convert(
    dataset: Dataset,
    records: Iterable[Record],
    bad: Bad,
    chat: Form | None,
    joiner: str | None,
) -> tuple[list[LocatedEdit], tuple[str, ...]]:
    placed: list[LocatedEdit] = []
    skipped: list[str] = []
    places: dict[str, str] = {}
    for record in (part for whole in records for part in _parts(dataset, whole, bad)):
        with bad.noting():
            edit = dataset.convert(record)
            if edit is None:
                skipped.append(record.where)
                continue
            edit = replace(
                edit,
                id=edit.id or f"edit-{record.number}",
                chat=edit.chat if chat is None else chat,
                joiner=edit.joiner if joiner is None else joiner,
            )
            forms = check_edit(edit, record.where).forms
            taken = next((form.id for form in forms if form.id in places), None)
            if taken is not None:
                raise SpecError(
                    f"{record.where}: id {taken!r} is taken by {places[taken]}; ids must differ."
                )
            places.update((form.id, record.where) for form in forms)
            placed += [LocatedEdit(form, record.where) for form in forms]
    return placed, tuple(skipped)


def _parts(dataset: Dataset, record: Record, bad: Bad) -> Sequence[Record]:
    with bad.noting():
        return dataset.parts(record)
    return ()


def _warn_of_blanks(name: str, placed: Sequence[LocatedEdit]) -> None:
    """Say where a blank at the end of a prompt makes a model read what no text has.

    Most tokenizers read a word with the space before it: after a space of its own, a word begins
    that the model has hardly ever seen begin there.
    """
    found = [p.where for p in placed if not p.edit.chat and p.edit.prompt.endswith(" ")]
    if found:
        _LOG.warning(
            "%s: %s in a space (first at %s), which the model reads as it stands, and answers less "
            "well; leave it out unless it is meant.",
            name,
            "a prompt ends" if len(found) == 1 else f"{len(found)} prompts end",
            found[0],
        )


def _warn_unknown(name: str, dataset: Dataset, records: Sequence[Record]) -> None:
    known = dataset.keys
    if known is None:
        return
    unknown: dict[str, str] = {}
    for record in records:
        for key in record.fields:
            if key not in known:
                unknown.setdefault(key, record.where)
    if unknown:
        key, where = next(iter(unknown.items()))
        _LOG.warning(
            "%s: ignoring unknown fields %s (first at %s).%s",
            name,
            ", ".join(sorted(unknown)),
            where,
            registry.did_you_mean(key, known),
        )


def _report(name: str, duplicates: int, conflicts: int, replaced: str, skipped: int) -> None:
    for count, what in (
        (duplicates, "repeated edits dropped"),
        (conflicts, f"edits {replaced} by a later one for the same subject and prompt"),
        (skipped, "records with nothing to write skipped"),
    ):
        if count:
            _LOG.warning("%s: %s: %d", name, what, count)
