"""A run's alarm: raised once, by the journal alone; the run stops, and can go on."""

import json
import math

import pytest
from e2e_runs import batches, cut_after, journal, run_here, same_end, update_files

from revive.errors import SpecError
from revive.report.reading.load import load_run
from revive.runs.alarm import edits_left
from revive.runs.loop import resume, start
from revive.runs.observers import Observer
from revive.runs.rollback import rollback_to
from revive.runs.status import run_status
from revive.spec.parsing import load_spec, parse_spec, read_model_config, resolve
from revive.spec.schema import AlarmSpec

METRIC = "weight_norm_ratio"


def norms(folder):
    """The weight's norm by step, after the first edit."""
    events = [e for e in journal(folder) if e["event"] == "measure" and e["step"]]
    return {e["step"]: e["metrics"][METRIC] for e in events}


@pytest.fixture
def level(calm_run):
    """What the norm first exceeds after the third batch."""
    found = norms(calm_run)
    assert found[2] < found[3]
    return (found[2] + found[3]) / 2


def alarms(folder):
    return [e for e in journal(folder) if e["event"] == "alarm"]


def without_alarm(folder):
    """The folder as that of a run without an alarm, to compare it with one."""
    path = folder / "summary.json"
    summary = json.loads(path.read_text("utf-8"))
    assert summary.pop("alarm")["metric"] == METRIC
    path.write_text(json.dumps(summary), "utf-8")


@pytest.fixture
def stopped(write_spec, tmp_path, level):
    """A run that its alarm has stopped."""
    folder = tmp_path / "run"
    summary = run_here(write_spec(alarm={"metric": METRIC, "above": level, "stop": True}), folder)
    assert summary["batches"] == 3
    return folder


def test_an_alarm_stops_a_run_which_then_goes_on_to_the_same_end(stopped, calm_run, level):
    (event,) = alarms(stopped)
    assert journal(stopped)[-1] == event
    assert (event["step"], event["edits"], event["stop"]) == (3, 6, True)
    assert event["values"] == {"value": norms(calm_run)[3], "level": level}
    assert batches(stopped) == batches(calm_run)[:3]
    status = run_status(stopped)
    assert status.state == "stopped"
    assert status.edits_left == 0
    assert "alarm after 6 edits" in status.advice
    assert load_run(stopped).edits == 6
    resume(stopped)
    assert alarms(stopped) == [event]
    without_alarm(stopped)
    same_end(stopped, calm_run)
    assert run_status(stopped).state == "finished"


def test_an_alarm_that_does_not_stop_is_told_and_nothing_else_changes(
    write_spec, tmp_path, level, calm_run
):
    class Listener(Observer):
        heard = ()

        def alarm(self, message):
            self.heard = (*self.heard, message)

    listener = Listener()
    read = load_spec(write_spec(alarm={"metric": METRIC, "above": level}))
    folder = tmp_path / "run"
    start(resolve(read, read_model_config(read.model.name)), folder, listener)
    (message,) = listener.heard
    assert "after 6 edits" in message
    assert "the run goes on" in message
    assert len(alarms(folder)) == 1
    without_alarm(folder)
    same_end(folder, calm_run)


def test_a_level_that_is_never_reached_raises_nothing(write_spec, tmp_path, calm_run):
    folder = tmp_path / "run"
    run_here(write_spec(alarm={"metric": METRIC, "above": 1e6, "stop": True}), folder)
    assert not alarms(folder)
    same_end(folder, calm_run)


def test_a_kill_between_measurement_and_alarm_prevents_no_alarm(stopped):
    (event,) = alarms(stopped)
    cut_after(stopped, "measure", 3)
    resume(stopped)
    (again,) = alarms(stopped)
    clock = {"time": 0, "sum": ""}
    assert {**again, **clock} == {**event, **clock}
    assert run_status(stopped).state == "stopped"


def test_a_kill_before_the_summary_of_a_stop_does_not_go_past_it(stopped):
    before = journal(stopped)
    summary = json.loads((stopped / "summary.json").read_text("utf-8"))
    (stopped / "summary.json").unlink()
    resume(stopped)
    assert journal(stopped) == before
    assert json.loads((stopped / "summary.json").read_text("utf-8")) == summary
    resume(stopped)
    assert journal(stopped)[-1]["event"] == "finish"


def test_an_alarm_that_was_rolled_back_is_raised_again(stopped):
    files = update_files(stopped)
    rollback_to(stopped, 1)
    assert run_status(stopped).state == "rolled back"
    resume(stopped)
    assert len(alarms(stopped)) == 2
    assert run_status(stopped).state == "stopped"
    assert update_files(stopped) == files


def test_an_alarm_that_can_never_be_raised_is_refused(write_spec, tmp_path):
    spec = write_spec(alarm={"metric": "weight_norm_rato", "above": 2.0})
    with pytest.raises(SpecError, match=r"measured are .*Did you mean 'weight_norm_ratio'"):
        run_here(spec, tmp_path / "run")
    spec = write_spec(alarm={"metric": "efficacy_exact", "below": 0.5, "relative": True})
    with pytest.raises(SpecError, match="relative"):
        run_here(spec, tmp_path / "other")


@pytest.mark.parametrize(
    "alarm", [{}, {"above": 1.0, "below": 0.5}, {"above": -1.0}, {"above": 1.0, "stopp": True}]
)
def test_malformed_alarms_are_refused(alarm):
    with pytest.raises(SpecError, match="alarm"):
        parse_spec({"model": "lab", "edits": "lab", "alarm": {"metric": METRIC, **alarm}})


def test_the_forecast_is_of_the_metric_that_is_watched():
    def measure(step, value):
        head = {"event": "measure", "step": step, "edits": 10 * step}
        return {**head, "metrics": {"general": value}}

    alarm = AlarmSpec(metric="general", below=0.25, relative=True)
    events = [measure(0, 0.8), *(measure(n, 0.8 * n**-0.5) for n in range(1, 6))]
    assert edits_left(alarm, events) == pytest.approx(160 - 50)
    assert edits_left(alarm, [*events, measure(6, 0.1)]) == 0
    assert edits_left(alarm, events[:2]) is None
    flat = [measure(0, 0.8), *(measure(n, 0.8) for n in range(1, 6))]
    assert edits_left(alarm, flat) == math.inf


def test_detail_adds_to_the_spectrum_and_changes_nothing_of_it(write_spec, tmp_path, calm_run):
    probes = [{"name": "edits", "every": 3, "sample": 4}, {"name": "spectrum", "detail": True}]
    folder = tmp_path / "run"
    run_here(write_spec(probes=probes), folder)
    known = [e for e in journal(calm_run) if e["event"] == "measure"]
    found = [e for e in journal(folder) if e["event"] == "measure"]
    assert len(known) == len(found)
    for old, new in zip(known, found, strict=True):
        for name, value in old["metrics"].items():
            assert new["metrics"][name] == pytest.approx(value, rel=1e-6), name
        assert "sites" not in old
        for site in new["sites"].values():
            assert sum(site["histogram"]) == pytest.approx(1.0)
            assert len(site["angles_left"]) == 5
            # REVIVE guards this run: what is written lies outside the dominant directions.
            assert sum(site["blocks"].values()) == pytest.approx(1.0 if new["step"] else 0.0)
            assert site["blocks"]["rest_rest"] == pytest.approx(1.0 if new["step"] else 0.0)
    record = load_run(folder)
    assert record.final["update_entropy"] > 0
    assert record.sites == load_run(calm_run).sites


def test_an_alarm_alone_is_the_lab_models():
    spec = parse_spec({"model": "lab", "edits": "lab", "alarm": {"stop": True}})
    assert spec.alarm == AlarmSpec(metric=METRIC, above=3.0, stop=True)
    assert parse_spec({"model": "lab", "edits": "lab"}).alarm is None
