"""What the unedited model measures is kept between runs; intervals reach the run folder."""

import json
import math
from dataclasses import replace

import pytest
import torch
from e2e_runs import journal, run_here, write_edits

from revive.data.readers import load_edits
from revive.models.ledger import Ledger
from revive.models.loading import load_model
from revive.probes.base import Measurement, Probe, ProbeContext
from revive.probes.edits import EditsProbe
from revive.runs.measurements import MeasurementCache


class Counting(Probe):
    """Says what it depends on, and counts how often it is asked."""

    name = "counting"
    summary = "counts"

    def __init__(self, depends):
        self.depends = depends
        self.asked = 0

    def measure(self, context):
        self.asked += 1
        return Measurement(
            {"value": 0.1 + 0.2, "odd": math.nan},
            3,
            [{"age_from": 0, "efficacy": math.inf}],
            intervals={"value": (0.1, 1 / 3)},
        )

    def depends_on(self, context):
        return self.depends


@pytest.fixture(scope="module")
def loaded(tiny_folder):
    return load_model(str(tiny_folder), device="cpu")


@pytest.fixture(scope="module")
def context(loaded, tmp_path_factory):
    path = write_edits(tmp_path_factory.mktemp("edits") / "edits.jsonl", 4)
    ledger = Ledger(loaded.model, loaded.family.sites(loaded.model, layers=[0]))
    return ProbeContext(loaded.model, loaded.tokenizer, ledger, load_edits(path).edits)


def test_a_measurement_is_made_once_and_read_back_as_it_was(tmp_path, loaded, context):
    probe = Counting({"setting": 1})
    first = MeasurementCache(tmp_path, loaded, "strict").measure(probe, context)
    again = MeasurementCache(tmp_path, loaded, "strict").measure(probe, context)
    assert probe.asked == 1
    assert again.metrics["value"] == first.metrics["value"]
    assert math.isnan(again.metrics["odd"])
    assert (again.sample, again.intervals) == (first.sample, first.intervals)
    assert again.retention[0]["efficacy"] == math.inf


def test_whatever_it_depends_on_is_measured_anew(tmp_path, loaded, context, tiny_folder):
    def asked(settings, model=loaded, precision="strict"):
        probe = Counting(settings)
        MeasurementCache(tmp_path, model, precision).measure(probe, context)
        return probe.asked

    assert asked({"setting": 1}) == 1
    assert asked({"setting": 1}) == 0
    assert asked({"setting": 2}) == 1
    assert asked({"setting": 1}, precision="fast") == 1
    assert asked({"setting": 1}, replace(loaded, fingerprint="another")) == 1
    double = load_model(str(tiny_folder), dtype="float64", device="cpu")
    double = replace(double, fingerprint=loaded.fingerprint)
    assert asked({"setting": 1}, double) == 1
    assert asked(None) == 1
    assert asked(None) == 1, "a probe that does not say what it depends on is always run"


def test_edits_and_settings_are_what_edit_metrics_depend_on(context):
    probe = EditsProbe(sample=2)
    base = probe.depends_on(context)
    assert probe.depends_on(context) == base
    fewer = replace(context, edits=context.edits[:3])
    asked = replace(context.edits[0], attribute_prompts=("Who",))
    other = replace(context, edits=(asked, *context.edits[1:]))
    assert probe.depends_on(fewer) != base != probe.depends_on(other)
    assert EditsProbe(sample=3).depends_on(context) != base


def test_a_damaged_file_is_measured_anew(tmp_path, loaded, context):
    probe = Counting({"setting": 1})
    cache = MeasurementCache(tmp_path, loaded, "strict")
    cache.measure(probe, context)
    (path,) = tmp_path.glob("*.json")
    path.write_text("{", "utf-8")
    cache.measure(probe, context)
    assert probe.asked == 2
    assert json.loads(path.read_text("utf-8"))["sample"] == 3


def test_a_folder_that_cannot_be_written_costs_time_only(tmp_path, loaded, context):
    blocked = tmp_path / "file"
    blocked.write_text("", "utf-8")
    found = MeasurementCache(blocked, loaded, "strict").measure(Counting({}), context)
    assert found.sample == 3


def test_a_second_run_measures_only_the_edited_model(write_spec, tmp_path, monkeypatch):
    """Generation and the edits before the first edit come from the first run, to the last bit."""
    probes = [
        {"name": "edits", "every": 2},
        {"name": "generation", "every": 2, "length": 40, "prompts": 1, "sample": 2},
    ]
    spec = write_spec(edits=4, probes=probes)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    run_here(spec, tmp_path / "one")
    asked = []
    real = EditsProbe.measure
    monkeypatch.setattr(
        EditsProbe, "measure", lambda s, c: asked.append(len(c.edits)) or real(s, c)
    )
    summary = run_here(spec, tmp_path / "two")
    assert len(asked) == 1, "only after the last batch"
    events = [
        [e for e in journal(tmp_path / run) if e["event"] == "measure"] for run in ("one", "two")
    ]
    for key in ("metrics", "sample", "retention", "intervals", "probes"):
        assert [e[key] for e in events[0]] == [e[key] for e in events[1]]
    final = events[1][-1]
    assert summary["intervals"]["final"] == final["intervals"]
    assert summary["intervals"]["unedited"] == events[1][0]["intervals"]
    assert "intervals" not in summary["final"]
    assert {"fluency", "repetition", "efficacy_generated"} <= set(summary["final"])
    for name, (low, high) in summary["intervals"]["final"].items():
        assert low <= summary["final"][name] <= high
    assert summary["curve"][-1]["intervals"] == final["intervals"]
    assert torch.get_default_dtype() == torch.float32
