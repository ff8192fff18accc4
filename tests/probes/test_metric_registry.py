"""Every metric that is reported is defined, and the page says what the code says."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from lab_edits import taken

from revive.data.edits import MultiHop, Question
from revive.lab import facts
from revive.metrics.page import page
from revive.metrics.table import GROUPS, METRICS, metric, registered
from revive.models.ledger import Ledger
from revive.models.loading import load_model
from revive.probes.base import ProbeContext
from revive.probes.edits import EditsProbe
from revive.probes.evaluate import fact_metrics
from revive.probes.general import GeneralProbe
from revive.probes.generation import GenerationProbe
from revive.probes.perplexity import PerplexityProbe
from revive.probes.spectrum import SpectrumProbe

PAGE = Path(__file__).resolve().parents[2] / "docs" / "metrics.md"


def test_the_page_is_what_the_command_prints():
    assert PAGE.read_text("utf-8") == page(), (
        "write it anew: revive list metrics --markdown > docs/metrics.md"
    )


def test_every_entry_is_complete_and_unique():
    names = [m.name for group in GROUPS.values() for m in group]
    assert len(names) == len(set(names)) == len(METRICS)
    titles = [m.title for m in METRICS.values()]
    assert len(titles) == len(set(titles))
    for entry in METRICS.values():
        assert entry.definition.endswith(".")
        assert entry.source
        assert not entry.proportion or entry.unit == "share"


def test_names_with_a_form_are_known_and_others_are_not():
    assert metric("perplexity_wiki").definition == METRICS["perplexity_*"].definition
    assert metric("perplexity_wiki").direction == "lower"
    assert registered("my_metric") is None
    assert metric("my_metric").source == "another package"


@pytest.fixture(scope="module")
def context():
    loaded = load_model("lab", device="cpu")
    edits = [
        replace(
            e,
            portability=(Question(e.text, (e.target_new,)),),
            multi_hop=(MultiHop((e.text,), (e.target_new,)),),
            references=("A text.",),
        )
        for e in taken(4)
    ]
    sites = loaded.family.sites(loaded.model, layers=[0])
    return loaded, ProbeContext(loaded.model, loaded.tokenizer, Ledger(loaded.model, sites), edits)


def test_every_reported_metric_is_registered_and_in_its_unit(context, tmp_path, monkeypatch):
    loaded, given = context
    text = tmp_path / "corpus.txt"
    text.write_text("The ship left the harbour at dawn. " * 5, "utf-8")
    probes = [
        EditsProbe(),
        GeneralProbe(facts=5, pairs=5, copies=5),
        SpectrumProbe(),
        SpectrumProbe(detail=True),
        PerplexityProbe(str(text)),
        GenerationProbe(length=12, prompts=1),
    ]
    found = {}
    for probe in probes:
        taken_ = probe.measure(given)
        found.update(taken_.metrics)
        assert set(taken_.intervals) <= set(taken_.metrics)
        for name, (low, high) in taken_.intervals.items():
            assert low <= taken_.metrics[name] + 1e-9
            assert taken_.metrics[name] <= high + 1e-9
    few = [f for f in facts.load_facts() if f.split == "editable"][:5]
    monkeypatch.setattr(facts, "load_facts", lambda: few)
    found.update(fact_metrics(loaded))
    unknown = sorted(name for name in found if registered(name) is None)
    assert unknown == []
    for name, value in found.items():
        if metric(name).unit == "share":
            assert -1e-6 <= value <= 1 + 1e-6, name
    emitted = {m.name for n in found for m in [registered(n)] if m is not None}
    # What is defined is also measured: no definition outlives its metric.
    assert set(METRICS) - emitted == {"seconds"}


def test_definitions_name_no_metric_that_is_not_there():
    named = set(re.findall(r"`([a-z_*]+)`", page()))
    assert named - set(METRICS) == set()
