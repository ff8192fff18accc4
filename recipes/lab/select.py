"""Rebuild `data/facts.tsv` from a folder of source facts.

Selection is a pure function of the source file: candidates are ordered by a hash of their own
text, so neither file order nor a random generator decides what is kept.
"""

import argparse
import hashlib
import json
import logging
import re
from collections import defaultdict
from collections.abc import Collection, Sequence
from pathlib import Path

from revive.lab.facts import Fact, data_path, relations

_LOG = logging.getLogger(__name__)

_SOURCES = ("counterfact", "pararel-trex")
_SUBJECT = re.compile(r"[A-Z0-9][A-Za-z0-9'.&-]*( [A-Za-z0-9'.&-]+){0,3}")
_OBJECT = re.compile(r"[A-Za-z][A-Za-z0-9'.-]*( [A-Za-z0-9'.-]+){0,2}")
_OFFENSIVE = re.compile(r"cunt|fuck|shit|nigg|whore|slut|bitch", re.IGNORECASE)
_MAX_SUBJECT = 24  # characters: long names cost tokens in every exposure
_MIN_GROUP = 5  # subjects per (relation, object), so that neighbours exist
_KEPT_SHARE = 0.2

Triple = tuple[str, str, str]  # relation, subject, object


def read_triples(path: Path) -> set[Triple]:
    """Usable (relation, subject, object) triples of a `true_facts.jsonl`.

    Raises:
        ValueError: If the file is missing.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no source facts there; point --data at a folder that has them")
    known = relations()
    triples: set[Triple] = set()
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        if row["src"] not in _SOURCES or row["r"] not in known:
            continue
        subject, target = str(row["s"]).strip(), str(row["o"]).strip()
        if _is_usable(subject, target):
            triples.add((row["r"], subject, target))
    return triples


def select(triples: Collection[Triple], cap: int) -> list[Fact]:
    """Choose unambiguous facts in groups of `_MIN_GROUP` to `cap` and split them.

    Args:
        triples: Candidate facts.
        cap: Most facts kept for one (relation, object) pair; bounds the pull of frequent
            answers, which a model could otherwise guess.

    Returns:
        Facts ordered by relation, object and hash. A subject is in one split only.
    """
    groups = _groups(triples, cap)
    quota = {key: max(1, round(_KEPT_SHARE * len(group))) for key, group in groups.items()}
    by_subject: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for key, subjects in groups.items():
        for subject in subjects:
            by_subject[subject].append(key)
    kept: set[str] = set()
    for subject in sorted(by_subject, key=lambda name: _rank(name)):
        if all(quota[key] > 0 for key in by_subject[subject]):
            kept.add(subject)
            for key in by_subject[subject]:
                quota[key] -= 1
    rows = [(*key, subject) for key in sorted(groups) for subject in groups[key]]
    return [
        Fact(f"f{n:04d}", relation, subject, target, "kept" if subject in kept else "editable")
        for n, (relation, target, subject) in enumerate(rows)
    ]


def _groups(triples: Collection[Triple], cap: int) -> dict[tuple[str, str], list[str]]:
    answers: dict[tuple[str, str], set[str]] = defaultdict(set)
    for relation, subject, target in triples:
        answers[relation, subject.casefold()].add(target)
    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    seen: set[tuple[str, str]] = set()
    for triple in sorted(triples, key=lambda item: _rank(*item)):
        relation, subject, target = triple
        name = (relation, subject.casefold())
        if len(answers[name]) == 1 and name not in seen and len(groups[relation, target]) < cap:
            seen.add(name)
            groups[relation, target].append(subject)
    return {key: group for key, group in groups.items() if len(group) >= _MIN_GROUP}


def _is_usable(subject: str, target: str) -> bool:
    # An answer that is part of the name would be copied rather than remembered.
    return (
        len(subject) <= _MAX_SUBJECT
        and _SUBJECT.fullmatch(subject) is not None
        and _OBJECT.fullmatch(target) is not None
        and target.casefold() not in subject.casefold()
        and _OFFENSIVE.search(subject) is None
    )


def _rank(*parts: str) -> str:
    return hashlib.sha256("\t".join(parts).encode()).hexdigest()


def main(argv: Sequence[str] | None = None) -> None:
    """Write the table and log its size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--cap", type=int, default=16, help="facts per relation and object")
    parser.add_argument("--out", type=Path, default=data_path("facts.tsv"))
    options = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    facts = select(read_triples(options.data / "facts" / "true_facts.jsonl"), options.cap)
    lines = ("\t".join((f.id, f.relation, f.subject, f.object, f.split)) for f in facts)
    options.out.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    editable = sum(fact.split == "editable" for fact in facts)
    _LOG.info("%d editable and %d kept facts", editable, len(facts) - editable)


if __name__ == "__main__":
    main()
