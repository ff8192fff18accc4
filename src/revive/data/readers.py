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
from revive.data.bad import Bad, listed
from revive.data.check import check_edit
from revive.data.dataset import Dataset
from revive.data.edits import Edit
from revive.data.records import Record, read_records
from revive.data.repeats import Conflict, OnConflict, Placed, Repeat, settle
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
) -> LoadedEdits:
    """Read edits.

    Args:
        path: A file, or `lab` for edits of the lab model's facts.
        format: One of `revive list datasets`, or `auto` to see it from the content.
        limit: Keep the first so many edits, repeats not counted. The whole file is checked all the
            same, but repeats beyond the limit are of no concern.
        on_conflict: Whether edits that contradict each other are refused, the last one wins, or all
            are made in sequence; of `lab`, a sequence may be longer than there are facts.
        seed: Which stream `lab` draws.
        skip_bad: Leave out records that cannot be used, with a warning.

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
    placed, skipped = _convert(dataset, records, bad)
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
    neighbours, not the questions that later versions read besides.
    """
    digest = hashlib.sha256()
    for edit in edits:
        neighbors = [(n.prompt, n.target) for n in edit.neighborhood]
        fields = (
            *(edit.id, edit.prompt, edit.subject, edit.target_new, edit.target_true),
            *(edit.paraphrases, neighbors, edit.relation),
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
    dataset: Dataset, records: Iterable[Record], bad: Bad
) -> tuple[list[Placed], tuple[str, ...]]:
    placed: list[Placed] = []
    skipped: list[str] = []
    places: dict[str, str] = {}
    for record in (part for whole in records for part in _parts(dataset, whole, bad)):
        with bad.noting():
            edit = dataset.convert(record)
            if edit is None:
                skipped.append(record.where)
                continue
            edit = check_edit(edit, record.where)
            edit = replace(edit, id=edit.id or f"edit-{record.number}")
            if edit.id in places:
                raise SpecError(
                    f"{record.where}: id {edit.id!r} is taken by {places[edit.id]}; ids must "
                    "differ."
                )
            places[edit.id] = record.where
            placed.append(Placed(edit, record.where))
    return placed, tuple(skipped)


def _parts(dataset: Dataset, record: Record, bad: Bad) -> Sequence[Record]:
    with bad.noting():
        return dataset.parts(record)
    return ()


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
