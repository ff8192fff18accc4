"""What was measured of every edit, kept beside a run so that runs can be paired. No torch."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from revive.errors import SpecError
from revive.io.json_text import read_json

Column = NDArray[np.float64]


@dataclass(frozen=True)
class Outcomes:
    """Values of single edits.

    Attributes:
        ids: Of the edits.
        columns: By metric, one value an edit, `[n]`; NaN where an edit has no such prompt.
    """

    ids: tuple[str, ...]
    columns: Mapping[str, Column]

    @classmethod
    def of(cls, ids: Sequence[str], columns: Mapping[str, Sequence[float]]) -> "Outcomes":
        """From plain lists."""
        return cls(tuple(ids), {k: np.asarray(v, dtype=np.float64) for k, v in columns.items()})

    def joined(self, other: "Outcomes") -> "Outcomes":
        """These edits and others; a metric that one of the two lacks is NaN there."""
        names = dict.fromkeys([*self.columns, *other.columns])

        def part(of: Outcomes, name: str) -> Column:
            return of.columns.get(name, np.full(len(of.ids), np.nan))

        return Outcomes(
            self.ids + other.ids,
            {name: np.concatenate([part(self, name), part(other, name)]) for name in names},
        )

    def metadata(self) -> dict[str, str]:
        """What a safetensors file of the columns holds besides them: the ids."""
        return {"ids": json.dumps(self.ids)}

    def to_bytes(self) -> bytes:
        """The content of a safetensors file."""
        return save(dict(self.columns), metadata=self.metadata())


def read_outcomes(path: Path) -> Outcomes:
    """Read what `to_bytes` made.

    Raises:
        SpecError: The file is damaged.
    """
    try:
        with safe_open(path, framework="numpy") as stored:
            ids, names = read_json(stored.metadata()["ids"]), list(stored.keys())
            return Outcomes.of(ids, {name: stored.get_tensor(name) for name in names})
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise SpecError(f"{path}: is damaged ({error}); delete it, or measure again.") from error
