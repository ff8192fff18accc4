"""The drift study on journals with a known lead, and on ones where nothing leads."""

import json
import math

import pytest
from constructed_drift import STEP, write_run, write_runs

from revive.errors import SpecError
from revive.runs.alarm import crossed, remaining
from revive.studies.drift_study.foresight import foresight
from revive.studies.drift_study.lead_lag import half_way
from revive.studies.drift_study.study import drift_study
from revive.studies.drift_study.traces import compact, read_trace, read_traces
from revive.studies.resampling import spearman


def found(study, measure, target="kept"):
    return next(x for x in study.leads if (x.measure, x.target) == (measure, target))


@pytest.fixture(scope="module")
def leading(tmp_path_factory):
    return drift_study(write_runs(tmp_path_factory.mktemp("leading"), lead=48), draws=300)


@pytest.mark.parametrize("lead", [-32, 0, 48])
def test_a_known_lead_is_found(tmp_path, lead):
    study = drift_study(write_runs(tmp_path / "runs", lead=lead), draws=300)
    measured = found(study, "tail_ratio")
    assert measured.runs == 18
    assert measured.lead.value == pytest.approx(lead, abs=STEP / 2)
    assert measured.lag.value == pytest.approx(lead, abs=STEP)
    assert measured.lag.interval[0] - STEP <= lead <= measured.lag.interval[1] + STEP
    assert measured.together.value < -0.8
    assert measured.together.p < 0.01
    assert measured.leads() == (lead > 0)


def test_what_leads_foretells_and_noise_does_not(leading):
    known, noise = found(leading, "tail_ratio"), found(leading, "update_entropy")
    assert known.foretells.value < -0.8
    assert known.foretells.p < 0.01
    assert abs(noise.foretells.value) < 0.4
    assert noise.foretells.p > 0.05
    assert not noise.leads()
    assert not found(leading, "tail_ratio", "efficacy_exact").leads()


def test_nothing_leads_where_nothing_does(tmp_path):
    study = drift_study(write_runs(tmp_path / "runs", independent=True), draws=300)
    measured = found(study, "tail_ratio")
    assert measured.together.p > 0.05
    assert measured.foretells.p > 0.05
    assert not any(x.leads() for x in study.leads)


def test_an_alarm_on_what_leads_is_right_and_one_on_noise_is_not(leading):
    alarms = {a.measure: a for a in leading.alarms}
    good, noise = alarms["tail_ratio"], alarms["update_entropy"]
    assert good.above
    assert good.missed == (0, 18)
    assert good.false == (0, 18)
    assert all(0 < lead <= leading.horizon for lead in good.lead)
    assert noise.missed[0] + noise.false[0] >= 9
    # Counting edits cannot do it either: the arms collapse at different times.
    assert alarms["edits"].missed[0] + alarms["edits"].false[0] >= 9


def test_a_level_is_judged_on_arms_that_it_was_not_fitted_on(tmp_path):
    folders = write_runs(tmp_path / "runs", lead=48, groups=3)
    # An arm that moves late: any level that is right for it is wrong for the others.
    odd = [write_run(tmp_path / f"odd_s{s}", 200, lead=-60, seed=s) for s in range(3)]
    judged = foresight(read_traces([*folders, *odd]), "tail_ratio", 64)
    outcomes = dict(zip(judged.groups, judged.outcomes, strict=True))
    assert outcomes["odd"] == "missed"
    assert outcomes["arm1"] == "in time"


def test_runs_that_keep_their_ability_count_for_false_alarms(tmp_path):
    folders = write_runs(tmp_path / "runs", lead=48)
    calm = [
        write_run(tmp_path / f"calm_s{s}", 5000, lead=0, seed=90 + s, fluke=150) for s in range(3)
    ]
    judged = foresight(read_traces([*folders, *calm]), "tail_ratio", 64)
    assert judged.lost == 18
    assert judged.false[1] == 21
    assert [o for g, o in zip(judged.groups, judged.outcomes, strict=True) if g == "calm"] == [
        "false"
    ] * 3


def test_the_forecast_follows_a_power_law_to_its_level():
    edits = [0, 16, 32, 64, 128]
    values = [0.0, *(3.0 * n**0.5 for n in edits[1:])]
    assert remaining(edits, values, 3.0 * 400**0.5) == pytest.approx(400 - 128)
    assert remaining(edits, [0.0, 4.0, 4.0, 4.0, 4.0], 5.0) == math.inf
    assert remaining(edits, values, 1.0) == math.inf
    assert remaining(edits[:2], values[:2], 5.0) is None
    assert remaining([16, 32], [1.0, math.nan], 5.0) is None


def test_an_alarm_is_raised_at_the_last_of_a_row():
    values = [1.0, 3.0, 1.0, 3.0, 4.0, 1.0]
    assert crossed(values, 2.0, above=True) == 1
    assert crossed(values, 2.0, above=True, patience=2) == 4
    assert crossed(values, 2.0, above=True, patience=3) is None
    assert crossed(values, 3.5, above=False) == 0
    assert crossed([1.0, 2.0], 2.0, above=True) is None
    assert crossed([1.0, math.nan], 2.0, above=True) == 1


def test_half_way_and_rank_correlation():
    assert half_way({0: 1.0, 10: 3.0, 20: 5.0, 30: 9.0}) == 20.0
    assert half_way({0: 2.0, 10: 2.0}) is None
    assert spearman(*map(_array, ([1, 2, 3, 4], [10, 100, 1000, 1e4]))) == pytest.approx(1.0)
    assert spearman(*map(_array, ([1, 2, 2, 3], [3, 2, 2, 1]))) == pytest.approx(-1.0)
    assert spearman(*map(_array, ([1, 1, 1], [3, 2, 1]))) == 0.0


def _array(values):
    import numpy as np

    return np.array(values, dtype=float)


def test_summaries_say_what_journals_say(tmp_path):
    run = write_run(tmp_path / "arm_s7", 150, lead=32, seed=1)
    trace = read_trace(run)
    assert trace.group == "arm"
    general = {n: v for n, v in trace.values["general"].items() if n}
    curve = [
        {"edits": n, **{m: v[n] for m, v in trace.values.items() if n in v and m != "edits"}}
        for n in sorted(trace.values["tail_ratio"])[1:]
    ]
    unedited = {m: v[0] for m, v in trace.values.items() if m not in ("edits", "kept")}
    kept = tmp_path / "kept" / "arm_s7"
    kept.mkdir(parents=True)
    full = {"run": "arm_s7", "curve": curve, "unedited": unedited, "retention": [1, 2]}
    (tmp_path / "full.json").write_text(json.dumps(full), "utf-8")
    (kept / "summary.json").write_text(compact(tmp_path / "full.json"), "utf-8")
    assert "retention" not in (kept / "summary.json").read_text("utf-8")
    again = read_trace(kept)
    assert {n: v for n, v in again.values["general"].items() if n} == general
    assert again.first_below("kept", 0.95) == pytest.approx(trace.first_below("kept", 0.95))


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(SpecError, match=r"no summary\.json"):
        read_trace(tmp_path)
    with pytest.raises(SpecError, match="no run folder"):
        drift_study([])


def test_the_tables_name_every_measure_once(leading):
    tables = leading.tables()
    text = "\n".join(table.markdown() for table in tables)
    assert text.count("| tail_ratio |") == 4  # two targets, the alarm, the forecast
    assert all(len(row) == len(table.header) for table in tables for row in table.rows)
    assert "leads" in next(r for r in tables[1].rows if r[0] == "tail_ratio")


def test_the_study_loads_no_torch():
    import subprocess
    import sys

    code = "import revive.studies.drift_study.study, sys; assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_runs_too_short_for_increments_have_no_lag(tmp_path):
    study = drift_study(write_runs(tmp_path / "runs", lead=0, steps=4), draws=20)
    measured = found(study, "tail_ratio")
    assert measured.lag is None
    assert measured.together is None
    assert not measured.leads()
    assert "| - | - |" in study.tables()[1].markdown()
