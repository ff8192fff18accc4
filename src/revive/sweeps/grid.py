"""A grid of runs from one file: which combinations there are. No torch.

    base: {model: lab, edits: {path: lab, limit: 512}, ...}   # a spec, as of `revive run`
    grid:                                                     # every combination is a run
      editor: [memit, {name: rect, keep: 0.3}]
      guard: [none, {name: revive, energy: 0.1}]
      editor.ridge: [300, 3000]
    seeds: [0, 1, 2]                                          # of the run and of its stream
    metrics: [efficacy_exact, score, general_kept]            # columns of the table

Keys of `grid` are those of a spec, dotted where they are inside something.
"""

import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from revive.io.yaml_text import parse_yaml
from revive.paths import read_text
from revive.spec.complaints import complaint
from revive.spec.overrides import apply_overrides
from revive.spec.parsing import parse_spec
from revive.sweeps.variants import RunVariant

METRICS = (
    "efficacy",
    "efficacy_exact",
    "paraphrase",
    "neighborhood",
    "score",
    "general_kept",
    "recall_kept",
    "edit_seconds",
)


class SweepSpec(BaseModel):
    """A sweep file.

    Attributes:
        base: What all runs share.
        grid: Values by dotted key.
        seeds: Each combination is run once with each, as `seed` and `edits.seed`; the table gives
            means over them.
        metrics: Columns of the table: metrics of a summary; `general_kept` and `recall_kept` are
            general ability and recall over the unedited model's, `edit_seconds` the time without
            probes.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    base: dict[str, Any]
    grid: dict[str, Annotated[list[Any], Field(min_length=1)]]
    seeds: Annotated[list[int], Field(min_length=1)] = [0]
    metrics: Annotated[list[str], Field(min_length=1)] = list(METRICS)


@dataclass(frozen=True)
class GridCell:
    """One combination of the grid.

    Attributes:
        values: By dotted key, short.
        arms: One run per seed.
    """

    values: Mapping[str, str]
    arms: tuple[RunVariant, ...]


def load_sweep(path: Path) -> SweepSpec:
    """Read a sweep file.

    Raises:
        SpecError: It cannot be read, or a combination is no spec; names the first wrong one.
    """
    data: object = parse_yaml(read_text(path, "sweep"), str(path))
    try:
        sweep = SweepSpec.model_validate(data)
    except ValidationError as error:
        raise complaint(error, SweepSpec, str(path)) from error
    for cell in cells(sweep):
        parse_spec(cell.arms[0].spec, f"{path}: {cell.arms[0].label}")
    return sweep


def cells(sweep: SweepSpec) -> Iterator[GridCell]:
    """Every combination, in the order of the file: the last key runs fastest."""
    # A part that is set whole comes before what is set inside it.
    order = sorted(sweep.grid, key=lambda key: key.count("."))
    for combination in itertools.product(*sweep.grid.values()):
        chosen = dict(zip(sweep.grid, combination, strict=True))
        spec = sweep.base
        for key in order:
            spec = apply_overrides(spec, [f"{key}={json.dumps(chosen[key])}"])
        shown = {key: short(value) for key, value in chosen.items()}
        label = ", ".join(shown.values())
        yield GridCell(shown, tuple(_arm(spec, label, seed) for seed in sweep.seeds))


def short(value: object) -> str:
    """A value of the grid in few words: a part's name, and what is set beside it."""
    if isinstance(value, Mapping):
        fields = dict(cast("Mapping[str, object]", value))
        name = str(fields.pop("name", fields.pop("path", "")))
        inside = " ".join(f"{k}={short(v)}" for k, v in fields.items())
        return f"{name} {inside}".strip()
    if isinstance(value, list):
        return "+".join(short(v) for v in cast("list[object]", value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _arm(spec: dict[str, Any], label: str, seed: int) -> RunVariant:
    seeded = apply_overrides(spec, [f"seed={seed}", f"edits.seed={seed}"])
    name = "".join(c if c.isalnum() or c in "-.+=" else "_" for c in label)
    return RunVariant(f"{name}_s{seed}", f"{label} (seed {seed})", seeded)
