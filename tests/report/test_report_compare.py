import math

import pytest
from constructed_runs import COLLAPSED, HEALTHY

from revive.report.compare import Comparison, collapse, relation, score_error, wilson
from revive.report.reading.load import load_run


def test_wilson_interval_matches_a_worked_example():
    low, high = wilson(0.8, 50)
    assert (round(low, 3), round(high, 3)) == (0.670, 0.888)
    assert wilson(1.0, 10)[1] == 1.0
    assert wilson(0.0, 10)[0] == 0.0


def test_score_error_agrees_with_simulated_samples():
    import numpy as np

    shares, n = {"efficacy": 0.9, "paraphrase": 0.7, "neighborhood": 0.6}, 400
    draws = np.random.default_rng(0).binomial(n, list(shares.values()), (20_000, 3)) / n
    scores = 3 / (1 / draws).sum(axis=1)
    assert score_error(shares, n) == pytest.approx(scores.std(), rel=0.03)
    assert score_error(shares, None) == 0.0


@pytest.mark.parametrize(
    ("a", "b", "error", "expected"),
    [
        (0.52, 0.50, 0.0, "same"),
        (0.53, 0.50, 0.0, "higher"),
        (0.50, 0.53, 0.0, "lower"),
        (0.55, 0.50, 0.03, "same"),
        (math.nan, 0.5, 0.0, None),
        (None, 0.5, 0.0, None),
    ],
)
def test_relation(a, b, error, expected):
    assert relation(a, b, error) == expected


@pytest.mark.parametrize(
    ("success", "ability", "expected"),
    [
        ("higher", "same", "better"),
        ("same", "lower", "worse"),
        ("higher", "lower", "traded"),
        ("same", "same", "tied"),
        (None, "higher", "better"),
        (None, None, "unknown"),
    ],
)
def test_verdict(success, ability, expected):
    assert Comparison(success, ability).verdict == expected


def test_collapse_names_the_first_crossing_and_every_reason(make_run):
    found = collapse(load_run(make_run("a", COLLAPSED)))
    assert found is not None
    assert 800 <= found.edits <= 1200
    assert "below its own peak" in found.reason
    assert "general ability" in found.reason
    assert "perplexity grew" in found.reason


def test_a_healthy_run_did_not_collapse(make_run):
    assert collapse(load_run(make_run("a", HEALTHY))) is None


def test_a_dip_that_recovers_is_no_collapse(make_run):
    curve = [
        {"edits": n, "score": s, "general": 0.8} for n, s in ((100, 0.9), (200, 0.4), (300, 0.88))
    ]
    record = load_run(make_run("a", {"score": 0.88}, summary={"curve": curve}))
    assert collapse(record) is None


def test_a_row_that_measures_only_the_spectrum_hides_no_collapse(make_run):
    curve = [
        {"edits": 100, "score": 0.9, "general": 0.8},
        {"edits": 200, "score": 0.9, "general": 0.3},
        {"edits": 300, "weight_norm_ratio": 9.0},
        {"edits": 400, "score": 0.9, "general": 0.2},
    ]
    final = {"score": 0.9, "general": 0.2}
    found = collapse(load_run(make_run("a", final, summary={"curve": curve})))
    assert found is not None
    assert found.edits == 200


def test_numbers_that_are_not_finite_are_a_collapse(make_run):
    final = {**HEALTHY, "perplexity": math.inf, "general": math.nan}
    found = collapse(load_run(make_run("a", final)))
    assert found is not None
    assert "no longer a finite number" in found.reason
