"""The facts the lab model knows, and the templates that state them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

Split = Literal["editable", "kept"]

_DATA = Path(__file__).resolve().parent / "data"
_COLUMNS = 5


@dataclass(frozen=True)
class Fact:
    """One true statement: `subject` stands in `relation` to `object`.

    Attributes:
        id: Stable name of the fact, e.g. `f0042`.
        relation: Wikidata property, e.g. `P19`.
        subject: What the fact is about.
        object: The single true answer.
        split: `editable` facts may be edited; `kept` ones never are, so that they can measure
            what editing others destroys.
    """

    id: str
    relation: str
    subject: str
    object: str
    split: Split


@dataclass(frozen=True)
class Relation:
    """How facts of one Wikidata property are put into words.

    Attributes:
        id: Wikidata property, e.g. `P19`.
        name: Readable name.
        templates: Sentence openings with one `{}` for the subject; the object follows after a
            single space. The model was trained on these.
        held_out: Openings of the same form that training never used.
    """

    id: str
    name: str
    templates: tuple[str, ...]
    held_out: tuple[str, ...]


def data_path(name: str) -> Path:
    """Path of a data file that ships with the package."""
    return _DATA / name


@cache
def load_facts() -> tuple[Fact, ...]:
    """All facts, in file order.

    Raises:
        ValueError: If the packaged table is damaged.
    """
    path = data_path("facts.tsv")
    facts: list[Fact] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        cells = line.split("\t")
        if len(cells) != _COLUMNS or cells[4] not in ("editable", "kept"):
            raise ValueError(
                f"{path.name}:{number}: expected id, relation, subject, object and "
                f"'editable' or 'kept', tab-separated, got {line!r}; reinstall the package or "
                "rebuild the table with `python -m recipes.lab.select`"
            )
        facts.append(Fact(*cells[:4], split=cells[4]))
    return tuple(facts)


@cache
def relations() -> Mapping[str, Relation]:
    """Every relation by its Wikidata property."""
    raw = json.loads(data_path("relations.json").read_text(encoding="utf-8"))
    return {
        key: Relation(key, entry["name"], tuple(entry["templates"]), tuple(entry["held_out"]))
        for key, entry in raw.items()
    }


def state(template: str, subject: str) -> str:
    """The template with the subject in place, ready for the object to follow."""
    return template.replace("{}", subject)
