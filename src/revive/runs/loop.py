"""The run loop: batches in, journal out; start, resume, finish."""

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from revive.assembly.build import load_for
from revive.assembly.fit_settings import build_fitted
from revive.data.edits import Edit
from revive.data.prompts import check_forms
from revive.data.readers import LoadedEdits
from revive.engine.engine import BatchResult
from revive.io.cache import cache_folder
from revive.models.forward.precision import products
from revive.models.loading import LoadedModel
from revive.models.placement import entry_device
from revive.probes.base import Measurement, ProbeContext
from revive.run_folder.edit_table import write_table
from revive.run_folder.journal import Event
from revive.run_folder.known_files import Known
from revive.run_folder.store import RunFolder
from revive.run_folder.summary import ended_at, failed, removed, standing, summarise
from revive.runs.alarm import AlarmWatch, check_metric, stopped_by_alarm, told
from revive.runs.environment import environment, memory_peaks
from revive.runs.final_answers import ask
from revive.runs.identity import check_edits, check_model, check_spec, run_identity, spec_record
from revive.runs.measurements import MeasurementCache
from revive.runs.observers import Observer
from revive.runs.probing import line_of, make_probe, measured_at
from revive.runs.repair import looked_at, most, unanswered
from revive.runs.replay import restore
from revive.sinks.dispatch import dispatching, make_sinks
from revive.sources.source import stored_as
from revive.spec.edit_stream import ordered, read_edits
from revive.spec.parsing import dump_spec, load_stored_spec, with_sinks
from revive.spec.schema import RunSpec, SinkSpec

UNEDITED_SAMPLE = 200
"""Edits of the stream that the unedited model is measured on, where a probe sets no sample."""

WITHHELD = 0.5
"""From this share on, the journal tells what a guard took out of one edit's update."""


def start(
    spec: RunSpec, folder: Path, observer: Observer | None = None, *, trust_code: bool = False
) -> dict[str, Any]:
    """Begin a run and drive it to its end.

    Args:
        spec: A resolved spec.
        folder: The run folder; must not hold anything yet.
        observer: Told about progress.
        trust_code: Whether code that comes with the model may run, if the spec asks for it.

    Returns:
        The summary, as written to `summary.json`.

    Raises:
        SpecError: The spec, the edits or the model cannot be used, or the folder is in use.
        PrerequisiteError: A sink's package is missing; nothing was begun.
        NumericalError: A non-finite update; the run folder is intact and resumable.
    """
    edits = read_edits(spec)
    sinks = make_sinks(spec.sinks)
    loaded = load_for(spec, trust_code=trust_code)
    check_forms(loaded.tokenizer, edits.edits)
    run_folder = RunFolder.create(folder)
    with run_folder.lock():
        run_folder.write_spec(dump_spec(spec))
        run = _Run(spec, run_folder, loaded, edits, observer or Observer())
        with dispatching(sinks, run.spec, run_folder, run.journal):
            run.announce(edits)
            return run.drive(0)


def resume(
    folder: Path,
    observer: Observer | None = None,
    *,
    sinks: Sequence[SinkSpec] = (),
    trust_code: bool = False,
) -> dict[str, Any]:
    """Continue a run where its journal ends. A finished run returns its summary.

    One that its alarm has stopped goes on to the end of its stream: the alarm was heard.

    Args:
        folder: The run folder.
        observer: Told about progress.
        sinks: Where else the journal goes, from its first line on, besides the spec's; kept in it.
        trust_code: Whether code that comes with the model may run, if the spec asks for it.

    Raises:
        SpecError: Not a run folder, or its spec, edits or model are not what they were.
        PrerequisiteError: A sink's package is missing.
    """
    run_folder = RunFolder.open(folder)
    with run_folder.lock():
        spec = with_sinks(load_stored_spec(run_folder.spec), sinks)
        fed = make_sinks(spec.sinks)
        journal = run_folder.open_journal()
        events = journal.events()
        check_spec(run_folder, events, spec)
        if sinks:
            run_folder.write_spec(dump_spec(spec))
        stopped = stopped_by_alarm(events) is not None and not run_folder.summary.exists()
        if stopped or (events and events[-1]["event"] == "finish"):
            if sinks:
                with dispatching(fed, spec, run_folder, journal):
                    pass
            # Nothing is left to do, but a kill may have come before the summary was written.
            return _summarise(spec, run_folder, events)
        edits = read_edits(spec)
        loaded = load_for(spec, trust_code=trust_code)
        run = _Run(spec, run_folder, loaded, edits, observer or Observer())
        check_edits(run_folder, run.journal.events(), edits)
        check_model(run_folder, events, loaded)
        # A kill inside a rollback leaves files of steps that its journal line has undone.
        run_folder.drop_after(run.journal.committed_step())
        step = restore(run_folder, run.journal, run.built.engine)
        with dispatching(fed, run.spec, run_folder, run.journal):
            if run.journal.events():
                run.journal.append("resume", step)
            else:
                run.announce(edits)
            return run.drive(step)


class _Run:
    """One run, built and ready to be driven."""

    def __init__(
        self,
        spec: RunSpec,
        folder: RunFolder,
        loaded: LoadedModel,
        edits: LoadedEdits,
        observer: Observer,
    ) -> None:
        self.folder = folder
        self.loaded = loaded
        self.observer = observer
        self.stream = ordered(spec, edits)
        self.journal = folder.open_journal()
        self.built, self.fit = build_fitted(
            spec, loaded, self.stream.batches[0], cache=cache_folder(), notify=observer.phase
        )
        if self.fit is not None:
            observer.say(self.fit.told())
        if self.built.calibration is not None:
            observer.say(self.built.calibration.told())
        self.spec = self.built.spec
        if self.spec != spec:
            # Something was calibrated or fitted: what is stored is what was used.
            folder.write_spec(dump_spec(self.spec))
        self.probes = [(p.every, make_probe(p)) for p in self.spec.probes]
        self.before = MeasurementCache(
            cache_folder() / "measurements", loaded, self.spec.model.precision
        )
        # Of what happened before this process took over; what it does itself it knows.
        self.removed = frozenset[str]()
        self.failed: set[str] = set()
        self.watch: AlarmWatch | None = None
        self.found = Known.of(self.journal.events())
        self.identity = self.found.run

    def announce(self, edits: LoadedEdits) -> None:
        """Record what the run begins with."""
        built = self.built
        device = str(entry_device(self.loaded.model))
        self.folder.write_env(
            environment(
                model_fingerprint=self.loaded.fingerprint,
                stored_as=stored_as(self.loaded.name),
                device=device,
                threads=torch.get_num_threads(),
            )
        )
        record = spec_record(self.spec)
        model = self.loaded.fingerprint
        self.identity = run_identity(record, edits.fingerprint, model)
        self.journal.append(
            "start",
            0,
            run=self.folder.path.name,
            edits=len(self.stream),
            edits_fingerprint=edits.fingerprint,
            identity=self.identity,
            model_fingerprint=model,
            spec=record,
            contexts=list(built.engine.context.contexts),
            calibration=None if built.calibration is None else asdict(built.calibration),
            fit=None if self.fit is None else asdict(self.fit),
        )

    def drive(self, done: int) -> dict[str, Any]:
        """Make every batch after the first `done`, measure, checkpoint, summarise."""
        events = standing(self.journal.events())
        self.removed = removed(events)
        self.failed = failed(events)
        self.observer.started(self.stream.count(done), len(self.stream))
        coming = self._coming(done + 1)
        self._measure_if_due(done, coming is None, measured_at(done, events))
        if self.spec.alarm is not None:
            check_metric(self.spec.alarm, self.journal.events())
            self.watch = AlarmWatch(self.spec.alarm, self.journal.events())
        self._checkpoint_if_due(done, coming is None)
        if self._alarm_stops(done, coming is None):
            return _summarise(self.spec, self.folder, self.journal.events())
        step = done
        while coming is not None:
            step += 1
            self._batch(step, coming)
            self.observer.batch(self.stream.count(step))
            coming = self._coming(step + 1)
            self._measure_if_due(step, coming is None)
            self._checkpoint_if_due(step, coming is None)
            if self._alarm_stops(step, coming is None):
                return _summarise(self.spec, self.folder, self.journal.events())
        # Before the line that says that nothing is left to do.
        self.journal.append("finish", step, **self._ask(step), **memory_peaks())
        return _summarise(self.spec, self.folder, self.journal.events())

    def _coming(self, step: int) -> "_Batch | None":
        """What a batch holds: the stream's next edits, and those that are made again."""
        beyond = step > len(self.stream.batches)
        edits = () if beyond else self.stream.batches[step - 1]
        repair = self.spec.repair
        if repair is None:
            return None if beyond else _Batch(edits)
        looked = looked_at(repair, self.stream, step, self.removed | self.failed)
        if looked:
            self.observer.phase("looking at earlier edits", 0, 0)
        started = time.perf_counter()
        with products(self.spec.model.precision):
            missed = unanswered(self.loaded.model, self.loaded.tokenizer, looked)
        seconds = {"look": time.perf_counter() - started} if looked else {}
        again = missed[: most(repair, self.spec.edits.batch_size, alone=beyond)]
        if beyond and not again:
            return None
        return _Batch(edits, again, len(looked), len(missed), seconds)

    def _batch(self, step: int, coming: "_Batch") -> None:
        batch = coming.edits
        self.observer.phase("editing", 0, 0)
        result = self.built.engine.apply((*batch, *coming.again))
        # The update file first, then the journal's line: the line is the commit.
        update = self.folder.save_update(step, result.tensors(), self.identity)
        before = self.stream.supersedes
        superseded = {edit.id: before[edit.id] for edit in batch if edit.id in before}
        fields = batch_fields(batch, result, coming.again)
        fields["seconds"] |= coming.seconds
        if superseded:
            fields["supersedes"] = superseded
        self.journal.append("batch", step, **fields, **coming.record(), update=update)
        self.failed |= set(result.failed)

    def _measure_if_due(self, step: int, last: bool, measured: Collection[str] = ()) -> None:
        due = [
            probe
            for every, probe in self.probes
            if probe.name not in measured and (last or step % every == 0)
        ]
        if not due:
            return
        # Before the first edit there is nothing to retain: the stream itself is measured.
        made = self.stream.count(step)
        edits = self.stream.standing(made or UNEDITED_SAMPLE, self.removed)
        superseded = sum(e.id not in self.removed for e in self.stream.edits[:made]) - len(edits)
        context = ProbeContext(
            self.loaded.model,
            self.loaded.tokenizer,
            self.built.engine.ledger,
            edits,
            self.spec.seed,
        )
        found: list[Measurement] = []
        kept: dict[str, str] = {}
        started = time.perf_counter()
        for probe in due:
            self.observer.phase(f"measuring {probe.name}", 0, 0)
            with products(self.spec.model.precision):
                taken = probe.measure(context) if step else self.before.measure(probe, context)
            if step and taken.outcomes is not None:
                # Before the journal's line, which says that they are there.
                kept[probe.name] = self.folder.save_outcomes(
                    step, probe.name, taken.outcomes, self.identity
                )
            found.append(taken)
        event = self.journal.append(
            "measure",
            step,
            edits=made,
            probes=[probe.name for probe in due],
            **line_of(found, edited=step > 0),
            seconds=time.perf_counter() - started,
            **({"superseded": superseded} if superseded > 0 else {}),
            **({"outcomes": kept} if kept else {}),
        )
        if self.watch is not None:
            self.watch.take(event)
        self.observer.measured(made, event["metrics"])

    def _ask(self, step: int) -> dict[str, Any]:
        """Keep what became of every edit, in words; what the journal holds of it."""
        self.observer.phase("asking for answers", 0, 0)
        events = self.journal.events()
        gone = removed(events)
        table = ask(
            self.folder,
            self.spec,
            self.loaded,
            self.built.engine.ledger,
            self.stream.standing(self.stream.count(step), gone),
            events,
        )
        checksum = write_table(self.folder, table, step, sorted(gone))
        return {"answers": table.counts(), "table": checksum}

    def _checkpoint_if_due(self, step: int, last: bool) -> None:
        if step == 0 or (step % self.spec.checkpoint.every and not last):
            return
        # Without its line a state does not count, whatever file of it is there.
        if self.folder.has_checkpoint(step, self.found):
            return
        state = self.folder.save_checkpoint(
            step,
            self.built.engine.ledger.state_dict(),
            run=self.identity,
            keep=self.spec.checkpoint.keep,
        )
        self.journal.append("checkpoint", step, state=state, **memory_peaks())

    def _alarm_stops(self, step: int, last: bool) -> bool:
        """Raise the alarm if the journal calls for it; whether the run ends here because of it."""
        alarm = self.spec.alarm
        raised = None if self.watch is None else self.watch.raised()
        if alarm is None or self.watch is None or raised is None:
            return False
        stops = alarm.stop and not last
        answers = self._ask(step) if stops else {}
        event = self.journal.append(
            "alarm",
            step,
            edits=raised.edits,
            metric=alarm.metric,
            values={"value": raised.value, "level": alarm.level},
            relative=alarm.relative,
            stop=stops,
            **answers,
        )
        self.watch.take(event)
        self.observer.alarm(told(event))
        return stops


@dataclass(frozen=True)
class _Batch:
    """What a batch holds, and how what it repairs was found.

    Attributes:
        edits: Of the stream.
        again: Those that are made again.
        looked: How many earlier edits were looked at.
        missed: Of those, how many did not answer.
        seconds: What the look took, by phase; empty where there was none.
    """

    edits: tuple[Edit, ...]
    again: tuple[Edit, ...] = ()
    looked: int = 0
    missed: int = 0
    seconds: Mapping[str, float] = field(default_factory=dict[str, float])

    def record(self) -> dict[str, Any]:
        """What the journal holds of the repairs; nothing where nothing was looked at."""
        if not self.looked:
            return {}
        ids = [edit.id for edit in self.again]
        return {"repairs": {"edits": ids, "looked": self.looked, "missed": self.missed}}


def batch_fields(
    batch: tuple[Edit, ...], result: BatchResult, again: tuple[Edit, ...] = ()
) -> dict[str, Any]:
    """What the journal holds of a batch.

    Args:
        batch: Its edits.
        result: What became of them.
        again: Edits of earlier batches that were made again with them.
    """
    whole = (*batch, *again)
    return {
        "edits": [edit.id for edit in batch],
        "made": list(result.made),
        "failed": [{"id": i, "reason": reason} for i, reason in result.failed.items()],
        "unsolved": {whole[i].id: loss for i, loss in result.outcome.unsolved.items()},
        "withheld": {i: round(x, 4) for i, x in result.withheld.items() if x >= WITHHELD},
        "sites": {
            a.site.key: {
                "asked": a.asked,
                "applied": a.applied,
                "removed": asdict(a.removed),
                "leak": a.leak,
                "rank": a.rank,
            }
            for a in result.applied
        },
        "notes": dict(result.outcome.notes),
        "seconds": dict(result.seconds),
    }


def _summarise(spec: RunSpec, folder: RunFolder, events: Sequence[Event]) -> dict[str, Any]:
    return folder.write_summary(summarise(spec, folder.path.name, events), ended_at(events))
