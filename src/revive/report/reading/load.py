"""A run folder, read: `spec.yaml`, `journal.jsonl` and, once the run is over, `summary.json`."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from revive.errors import SpecError
from revive.metrics.outcomes import Outcomes
from revive.metrics.per_edit import EditTable
from revive.report.reading.accounts import (
    Failure,
    SiteAccount,
    failures,
    phase_seconds,
    site_accounts,
)
from revive.report.reading.curves import Age, CurvePoint, Role
from revive.report.reading.events import Event, rolled_back
from revive.report.reading.files import (
    check_folder,
    derive_summary,
    name_in,
    read_spec,
    read_summary,
    section_of,
)
from revive.run_folder.contradictions import check_files
from revive.run_folder.edit_table import read_table
from revive.run_folder.journal import Journal
from revive.run_folder.known_files import Known
from revive.run_folder.store import RunFolder
from revive.run_folder.summary import ended_at, standing

UNGUARDED = ("", "none")


@dataclass(frozen=True, slots=True)
class RunRecord:
    """Everything a report says about one run.

    Attributes:
        run: Name of the run.
        label: Name of this arm for people.
        role: Part it plays in the comparison.
        model: Name of the edited model.
        editor: Name of the editor.
        guard: Name of the guard, `none` without one.
        edits: Number of edits written.
        batches: Number of batches written.
        order: Order of the edits, where the spec tells.
        seed: Seed of the edits, where the spec tells.
        final: Last value of every metric.
        unedited: The same for the model before the first edit.
        curve: Measurements over the stream, by number of edits.
        retention: Efficacy by age of the edit, at the end.
        seconds: Wall-clock time, `total` and by phase.
        peak_memory_bytes: Largest memory use, where recorded.
        peak_gpu_memory_bytes: The same on GPUs, together.
        sites: What the guard did, by site.
        failed: Edits that could not be made.
        finished: Whether the run reached its end.
        intervals: 95 % interval of final metrics, where the run computed one.
        stream: Fingerprint of the edits, where recorded.
        outcomes: By probe, what its last measurement found edit by edit, where that was kept.
        table: What became of single edits.
    """

    run: str
    label: str
    role: Role
    model: str
    editor: str
    guard: str
    edits: int
    batches: int
    order: str | None
    seed: int | None
    final: Mapping[str, float]
    unedited: Mapping[str, float]
    curve: tuple[CurvePoint, ...]
    retention: tuple[Age, ...]
    seconds: Mapping[str, float]
    peak_memory_bytes: int | None
    peak_gpu_memory_bytes: int | None
    sites: tuple[SiteAccount, ...]
    failed: tuple[Failure, ...]
    finished: bool
    intervals: Mapping[str, tuple[float, float]] = field(
        default_factory=dict[str, tuple[float, float]]
    )
    stream: str | None = None
    outcomes: Mapping[str, Outcomes] = field(default_factory=dict[str, Outcomes])
    table: EditTable = field(default_factory=EditTable)

    def value(self, name: str) -> float | None:
        """Last value of a metric, or None if it was not measured; may be NaN or infinite."""
        if name == "seconds":
            return self.seconds.get("total")
        return self.final.get(name)

    def kept(self, point: Mapping[str, float] | None = None) -> float | None:
        """General ability over that of the unedited model; at the end unless `point` is given."""
        now = (self.final if point is None else point).get("general")
        before = self.unedited.get("general")
        if now is None or before is None or not math.isfinite(before) or before <= 0:
            return None
        return now / before

    @property
    def sample(self) -> int | None:
        """Number of edits behind the last measurement, where known."""
        return next((p.sample for p in self.curve[::-1] if p.sample), None)


def load_run(path: Path) -> RunRecord:
    """Read one run folder; a run without `summary.json` is read from its journal.

    Raises:
        SpecError: The folder is not a run, or one of its files cannot be read.
    """
    RunFolder(path).refuse_links()
    every = Journal.read(path / "journal.jsonl")
    if (path / "spec.yaml").is_file():
        check_files(path, every)
    check_folder(path)
    spec = read_spec(path / "spec.yaml")
    events = [dict(event) for event in standing(every)]
    finished = (path / "summary.json").is_file() and not rolled_back(events)
    summary = read_summary(path / "summary.json") if finished else derive_summary(spec, events)
    # Older versions kept no time.
    time = ended_at(events) if Known.of(every).run else 0.0
    if finished and summary.journal_time not in (time, ended_at(events)):
        raise SpecError(
            f"{path}/summary.json: is of another state of the run than its journal; 'revive resume "
            f"{path}' writes it again."
        )
    stream = section_of(spec, "edits")
    curve = tuple(sorted(summary.curve, key=lambda p: p.edits))
    last = curve[-1].metrics if curve else {}
    retention = summary.retention or next((p.retention for p in curve[::-1] if p.retention), ())
    phases = phase_seconds(events)
    seconds = {**({"total": sum(phases.values())} if phases else {}), **phases, **summary.seconds}
    guard = summary.guard or "none"
    editor = summary.editor or name_in(spec, "editor")
    unguarded = guard in UNGUARDED
    seed = stream.get("seed", spec.get("seed"))
    order = stream.get("order")
    return RunRecord(
        run=summary.run or path.name,
        label=summary.label or (editor if unguarded else f"{editor} + {guard}"),
        role=summary.role or ("baseline" if unguarded else "guarded"),
        model=summary.model or name_in(spec, "model"),
        editor=editor,
        guard=guard,
        edits=summary.edits,
        batches=summary.batches,
        order=order if isinstance(order, str) else None,
        seed=seed if isinstance(seed, int) else None,
        final={**last, **summary.final},
        unedited=summary.unedited,
        curve=curve,
        retention=retention,
        seconds=seconds,
        peak_memory_bytes=summary.peak_memory_bytes,
        peak_gpu_memory_bytes=summary.peak_gpu_memory_bytes,
        sites=site_accounts(events),
        failed=failures(events),
        finished=finished,
        intervals=summary.intervals,
        stream=next((e.get("edits_fingerprint") for e in events if e["event"] == "start"), None),
        outcomes=_outcomes(path, events, Known.of(every)),
        table=read_table(path),
    )


def _outcomes(path: Path, events: Sequence[Event], known: Known) -> dict[str, Outcomes]:
    """Of every probe the last measurement that stands, if it was kept edit by edit."""
    last: dict[str, int] = {}
    for event in events:
        if event["event"] == "measure":
            last.update(dict.fromkeys(event.get("probes", ()), event["step"]))
    folder = RunFolder(path)
    found = {probe: folder.load_outcomes(step, probe, known) for probe, step in last.items()}
    return {probe: outcomes for probe, outcomes in found.items() if outcomes is not None}


def load_runs(paths: Sequence[Path]) -> tuple[RunRecord, ...]:
    """Read several run folders; arms of the same name are told apart by their run's name."""
    if not paths:
        raise SpecError("No run folder given. Pass at least one folder that `revive run` wrote.")
    records = [load_run(path) for path in paths]
    labels = [r.label for r in records]
    named = [
        replace(r, label=f"{r.label} ({r.run})") if labels.count(r.label) > 1 else r
        for r in records
    ]
    seen: dict[str, int] = {}
    unique: list[RunRecord] = []
    for record in named:
        count = seen[record.label] = seen.get(record.label, 0) + 1
        unique.append(replace(record, label=f"{record.label} #{count}") if count > 1 else record)
    return tuple(unique)
