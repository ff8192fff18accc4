"""Paired comparisons: against scipy, with controls that show what pairing is for."""

import csv
import json
import re

import numpy as np
import pytest
from scipy import stats

from revive.errors import SpecError
from revive.metrics.outcomes import Outcomes, read_outcomes
from revive.report.page import write_report
from revive.report.paired import compare_outcomes
from revive.report.reading.load import load_runs
from revive.report.versus import _holm, against_first, versus_note, versus_table


def outcomes(columns, ids=None):
    count = len(next(iter(columns.values())))
    return Outcomes.of(ids or [f"e{i}" for i in range(count)], columns)


def draws(share, count=400, seed=0):
    return (np.random.default_rng(seed).random(count) < share).astype(float)


def only(first, second, metric="efficacy", **options):
    return next(p for p in compare_outcomes(first, second, **options) if p.metric == metric)


def test_difference_interval_and_p_are_those_of_scipy():
    a, b = draws(0.7, 150, 1), draws(0.6, 150, 2)
    found = only(outcomes({"efficacy": a}), outcomes({"efficacy": b}), draws=4000)

    def gap(x, y, axis=-1):
        return np.mean(x, axis=axis) - np.mean(y, axis=axis)

    expected = stats.permutation_test(
        (a, b), gap, permutation_type="samples", n_resamples=4000, rng=np.random.default_rng(5)
    )
    interval = stats.bootstrap(
        (a, b),
        gap,
        paired=True,
        method="percentile",
        n_resamples=4000,
        rng=np.random.default_rng(6),
    ).confidence_interval
    assert found.difference == pytest.approx(a.mean() - b.mean(), abs=1e-12)
    assert found.p == pytest.approx(expected.pvalue, abs=0.03)
    assert found.low == pytest.approx(interval.low, abs=0.015)
    assert found.high == pytest.approx(interval.high, abs=0.015)


def test_pairs_see_what_two_shares_alone_do_not():
    """Twelve of 400 edits are lost, none is gained: hardly a standard error of the shares."""
    a = draws(0.6)
    b = a.copy()
    b[np.flatnonzero(a)[:12]] = 0.0
    paired = only(outcomes({"efficacy": a}), outcomes({"efficacy": b}))
    assert not paired.within_noise
    shuffled = np.random.default_rng(3).permutation(b)
    apart = only(outcomes({"efficacy": a}), outcomes({"efficacy": shuffled}))
    assert apart.difference == pytest.approx(paired.difference)
    assert apart.within_noise, "the same shares, with no edit paired with itself"


def test_edits_are_paired_by_their_ids_whatever_their_order():
    a = draws(0.6)
    b = a.copy()
    b[np.flatnonzero(a)[:12]] = 0.0
    aligned = only(outcomes({"efficacy": a}), outcomes({"efficacy": b}))
    order = np.random.default_rng(4).permutation(len(b))
    moved = outcomes({"efficacy": b[order]}, ids=[f"e{i}" for i in order])
    assert only(outcomes({"efficacy": a}), moved) == aligned


def test_a_run_against_itself_is_noise_and_signs_turn_with_the_order():
    a, b = outcomes({"efficacy": draws(0.7)}), outcomes({"efficacy": draws(0.5, seed=9)})
    same = only(a, a)
    assert (same.difference, same.low, same.high, same.p) == (0.0, 0.0, 0.0, 1.0)
    one, other = only(a, b), only(b, a)
    assert one.difference == -other.difference
    assert one.p == other.p


def test_false_alarms_are_as_rare_as_promised():
    """Over 200 pairs of runs that differ by chance, some 5 % are called different."""
    called = 0
    for seed in range(200):
        a, b = draws(0.6, 60, 1000 + seed), draws(0.6, 60, 5000 + seed)
        pair = only(outcomes({"efficacy": a}), outcomes({"efficacy": b}), draws=300)
        called += not pair.within_noise
    assert called / 200 == pytest.approx(0.05, abs=0.045)


def test_the_score_is_compared_as_the_harmonic_mean_that_it_is():
    parts = {
        name: draws(p, seed=i)
        for i, (name, p) in enumerate(
            [("efficacy", 0.9), ("paraphrase", 0.7), ("neighborhood", 0.5)]
        )
    }
    worse = {**parts, "neighborhood": draws(0.3, seed=8)}
    found = only(outcomes(parts), outcomes(worse), "score")
    expected = [stats.hmean([c.mean() for c in x.values()]) for x in (parts, worse)]
    assert found.difference == pytest.approx(expected[0] - expected[1], abs=1e-12)
    assert found.low > 0
    dead = {**parts, "neighborhood": np.zeros(400)}
    assert only(outcomes(parts), outcomes(dead), "score").difference == pytest.approx(expected[0])


def test_only_edits_of_both_runs_count_and_missing_prompts_are_left_out():
    a = outcomes({"efficacy": [1, 1, 0, np.nan]}, ["a", "b", "c", "d"])
    b = outcomes({"efficacy": [0, 1, 1, 1]}, ["c", "b", "a", "z"])
    assert only(a, b).edits == 3
    assert only(a, b).difference == 0.0
    assert compare_outcomes(a, outcomes({"efficacy": [1.0]}, ["other"])) == []
    assert compare_outcomes(a, outcomes({"other": [1.0]}, ["a"])) == []
    empty = outcomes({"efficacy": [np.nan]}, ["d"])
    assert compare_outcomes(a, empty) == []


def test_holm_is_scipys_and_never_below_the_plain_p():
    p = [0.04, 0.001, 0.03, 0.2, 0.001]
    corrected = _holm(p)
    assert all(c >= q for c, q in zip(corrected, p, strict=True))
    assert corrected[1] == pytest.approx(0.005)
    assert corrected[0] == pytest.approx(0.09)
    assert corrected == pytest.approx([0.09, 0.005, 0.09, 0.2, 0.005])
    assert _holm([]) == []


def test_outcomes_are_read_back_and_damage_is_told(tmp_path):
    path = tmp_path / "000004.edits.safetensors"
    kept = outcomes({"efficacy": [1.0, np.nan], "exact": [0.0, 0.25]}, ["a", 'b "quoted"'])
    path.write_bytes(kept.to_bytes())
    back = read_outcomes(path)
    assert back.ids == kept.ids
    for name, column in kept.columns.items():
        np.testing.assert_array_equal(back.columns[name], column)
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(SpecError, match="is damaged"):
        read_outcomes(path)


@pytest.fixture
def measured(make_run):
    """Two runs over one stream, whose outcomes were kept."""

    def make(name, columns, stream="same", **options):
        folder = make_run(name, **options)
        journal = folder / "journal.jsonl"
        events = [json.loads(line) for line in journal.read_text().splitlines()]
        events[0]["edits_fingerprint"] = stream
        events[-1]["probes"] = ["edits"]
        journal.write_text("".join(json.dumps(e) + "\n" for e in events))
        path = folder / "measures" / f"{events[-1]['step']:06d}.edits.safetensors"
        path.parent.mkdir()
        path.write_bytes(outcomes(columns).to_bytes())
        return folder

    return make


def test_a_report_marks_what_is_noise_and_what_is_not(measured, tmp_path):
    base = measured("base", {"efficacy": draws(0.5), "efficacy_exact": draws(0.5, seed=3)})
    better = {"efficacy": draws(0.8), "efficacy_exact": draws(0.5, seed=4)}
    found = against_first(load_runs([base, measured("better", better, guard="revive")]))
    pairs = {p.metric: p for p in found[0].pairs}
    assert pairs["efficacy"].low > 0
    assert not pairs["efficacy"].within_noise
    assert pairs["efficacy_exact"].within_noise
    write_report([base, tmp_path / "better"], tmp_path / "out", title="t")
    table = (tmp_path / "out" / "versus.md").read_text()
    assert re.search(r"\| \*\*\+0\.\d+ \[.*\]\*\* \| ≈ ", table)
    rows = list(csv.DictReader((tmp_path / "out" / "versus.csv").open()))
    assert [r["noise"] for r in rows] == ["false", "true"]
    assert "≈" not in (tmp_path / "out" / "versus.tex").read_text()


def test_runs_over_other_edits_are_not_paired(measured):
    base = measured("base", {"efficacy": draws(0.5)})
    other = measured("other", {"efficacy": draws(0.9)}, stream="another")
    shorter = measured("shorter", {"efficacy": draws(0.9)}, edits=1000)
    found = against_first(load_runs([base, other, shorter]))
    assert [one.pairs for one in found] == [(), ()]
    assert "not the edits of" in found[0].unpaired
    assert "1,000 and 2,000" in found[1].unpaired
    assert versus_table(found) is None
    assert "Not paired" in versus_note(found)
