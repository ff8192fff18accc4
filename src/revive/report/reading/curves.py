"""The shape of `summary.json`, read leniently: any metric may be missing or not finite."""

from typing import Any, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Role = Literal["baseline", "guarded", "control", "best"]


def numbers(value: object) -> dict[str, float]:
    """The entries of a mapping that are numbers; "NaN" and "Infinity" strings are numbers."""
    if not isinstance(value, dict):
        return {}
    found: dict[str, float] = {}
    for key, entry in cast("dict[str, object]", value).items():
        if isinstance(entry, bool) or not isinstance(entry, (int, float, str)):
            continue
        try:
            found[key] = float(entry)
        except ValueError:
            continue
    return found


class Age(BaseModel):
    """How well edits of one age are held: `age_from` to `age_to` edits were written since."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    age_from: int
    age_to: int
    efficacy: float | None = None
    efficacy_exact: float | None = None


class CurvePoint(BaseModel):
    """One row of the curve: everything measured after `edits` edits.

    Attributes:
        edits: Number of edits written.
        sample: Number of edits that the shares were measured on, where known.
        metrics: Every number in the row.
        retention: Efficacy by age of the edit, where measured.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    edits: int
    sample: int | None = None
    metrics: dict[str, float] = Field(default_factory=dict)
    retention: tuple[Age, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _gather(cls, row: object) -> object:
        if not isinstance(row, dict):
            return row
        fields = cast("dict[str, Any]", row)
        metrics = numbers(fields)
        edits, sample = fields.get("edits"), fields.get("sample")
        for key in ("edits", "sample", "superseded", "step", "time"):
            metrics.pop(key, None)
        retention = fields.get("retention") or ()
        return {"edits": edits, "sample": sample, "metrics": metrics, "retention": retention}


class Summary(BaseModel):
    """A run's `summary.json`."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    run: str = ""
    journal_time: float = 0.0
    model: str = ""
    editor: str = ""
    guard: str = "none"
    label: str | None = None
    role: Role | None = None
    edits: int = 0
    batches: int = 0
    final: dict[str, float] = Field(default_factory=dict)
    unedited: dict[str, float] = Field(default_factory=dict)
    intervals: dict[str, tuple[float, float]] = Field(default_factory=dict)
    curve: tuple[CurvePoint, ...] = ()
    retention: tuple[Age, ...] = ()
    seconds: dict[str, float] = Field(default_factory=dict)
    peak_memory_bytes: int | None = None
    peak_gpu_memory_bytes: int | None = None

    @model_validator(mode="before")
    @classmethod
    def _lift_retention(cls, value: object) -> object:
        if not isinstance(value, dict):
            return value
        fields = dict(cast("dict[str, Any]", value))
        final: object = fields.get("final")
        if isinstance(final, dict) and not fields.get("retention"):
            fields["retention"] = cast("dict[str, Any]", final).get("retention") or ()
        return fields

    @field_validator("intervals", mode="before")
    @classmethod
    def _final_intervals(cls, value: object) -> object:
        fields = cast("dict[str, object]", value) if isinstance(value, dict) else {}
        final = fields.get("final")
        found: dict[str, tuple[float, float]] = {}
        for name, pair in cast("dict[str, Any]", final if isinstance(final, dict) else {}).items():
            two = isinstance(pair, list | tuple) and len(cast("list[object]", pair)) == 2
            edges = numbers({"low": pair[0], "high": pair[1]}) if two else {}
            if len(edges) == 2:
                found[name] = (edges["low"], edges["high"])
        return found

    @field_validator("model", "editor", "guard", mode="before")
    @classmethod
    def _name(cls, value: object) -> object:
        if value is None:
            return "none"
        if isinstance(value, dict):
            return cast("dict[str, object]", value).get("name", "none")
        return value

    @field_validator("final", "unedited", "seconds", mode="before")
    @classmethod
    def _numbers(cls, value: object) -> object:
        return numbers(value)
