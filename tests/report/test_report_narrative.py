import math

import pytest
from constructed_runs import COLLAPSED, HEALTHY

from revive.report.narrative import narrative
from revive.report.reading.load import load_runs

WORN = {**HEALTHY, "score": 0.75, "efficacy": 0.9, "paraphrase": 0.7, "general": 0.68}


@pytest.fixture
def tell(make_run):
    """Tell the story of a baseline, a guarded arm and, if given, a control."""

    def tell(base, guarded, control=None, **changes):
        arms = [make_run("base", base), make_run("guarded", guarded, guard="revive", **changes)]
        if control is not None:
            summary = {"role": "control", "label": "memit, re-tuned lambda"}
            arms.append(make_run("control", control, summary=summary))
        return narrative(load_runs(arms))

    return tell


def test_the_guard_helps_where_the_baseline_collapsed(tell):
    text = tell(COLLAPSED, HEALTHY)
    assert "memit has a score of 0.51 and keeps 0.37 of the unedited general ability" in text
    assert "it collapsed by edit" in text
    assert "The guard helped: memit + revive has a score of 0.85" in text
    assert "and it did not collapse" in text


def test_the_guard_does_not_help(tell):
    text = tell(COLLAPSED, {**COLLAPSED, "score": 0.52})
    assert "The guard did not help" in text
    assert "within noise of memit on edit success and on general ability" in text
    assert "and it collapsed too by edit" in text
    assert "helped" not in text


def test_the_guard_hurts(tell):
    text = tell(HEALTHY, WORN)
    assert "The guard hurt" in text
    assert "lower than memit on edit success and on general ability" in text


def test_the_guard_trades(tell):
    text = tell(WORN, {**HEALTHY, "score": 0.6})
    assert "The guard traded one for the other" in text
    assert "lower than memit on edit success and higher than it on general ability" in text


def test_nothing_collapsed(tell):
    text = tell(WORN, HEALTHY)
    assert "memit has a score of 0.75" in text
    assert "it did not collapse" in text
    assert "Nothing collapsed in this stream, so it cannot show" in text
    assert "The guard helped" in text


def test_the_control_wins(tell):
    text = tell(COLLAPSED, WORN, HEALTHY)
    assert "The guard helped" in text
    assert "But the control memit, re-tuned lambda has a score of 0.85" in text
    assert "the control wins" in text


def test_the_control_ties(tell):
    text = tell(COLLAPSED, HEALTHY, {**HEALTHY, "score": 0.86})
    assert "within noise of memit + revive" in text
    assert "can be had without it" in text


def test_the_control_loses(tell):
    text = tell(COLLAPSED, HEALTHY, WORN)
    assert "the control does not reach what the guard does" in text


def test_the_control_trades(tell):
    text = tell(COLLAPSED, HEALTHY, {**WORN, "score": 0.95})
    assert "neither wins outright" in text


def test_a_difference_inside_the_sampling_error_is_noise(make_run):
    """0.04 apart is a difference on thousands of edits and none on sixty."""

    def text(name, sample):
        paths = []
        for guard, shift in (("none", 0.0), ("revive", 0.04)):
            final = {
                "efficacy": 0.85 + shift,
                "paraphrase": 0.75 + shift,
                "neighborhood": 0.7 + shift,
                "score": 0.76 + shift,
                "general": 0.79,
            }
            curve = [{"edits": 2000, "sample": sample, **final}]
            summary = {"curve": curve}
            paths.append(make_run(f"{name}-{guard}", final, guard=guard, summary=summary))
        return narrative(load_runs(paths))

    assert "The guard helped" in text("many", 5000)
    assert "The guard did not help" in text("few", 60)


def test_a_guarded_arm_of_another_editor_is_not_credited_to_the_guard(tell):
    text = tell(COLLAPSED, HEALTHY, editor="memit-seq")
    assert "not the guard's doing alone" in text
    assert "The guard helped" not in text


def test_without_a_baseline_nothing_is_claimed(make_run):
    text = narrative(load_runs([make_run("a", guard="revive")]))
    assert "what the guard did is not known" in text


def test_a_baseline_alone(make_run):
    text = narrative(load_runs([make_run("a", COLLAPSED)]))
    assert "it collapsed by edit" in text
    assert "guard helped" not in text


def test_numbers_that_are_not_finite(tell):
    text = tell({**COLLAPSED, "general": math.nan, "perplexity": math.inf}, HEALTHY)
    assert "no longer a finite number" in text
    assert " nan" not in text.lower()


def test_nothing_measured(make_run):
    text = narrative(load_runs([make_run("a", {}), make_run("b", {}, guard="revive")]))
    assert "nothing that it shares with memit was measured" in text


def test_differences_between_the_arms_are_told(tell):
    assert "The arms differ in the order of the edits" in tell(COLLAPSED, HEALTHY, seed=1)


def test_an_unfinished_run_and_failed_edits_are_told(tell):
    text = tell(COLLAPSED, HEALTHY, finished=False, failed=[{"id": "x", "reason": "y"}])
    assert "Not finished: memit + revive (at edit 2,000)." in text
    assert "Edits that failed: 1 in memit + revive." in text


def test_twelve_arms_stay_one_readable_paragraph(make_run):
    arms = [
        make_run(
            f"run{i}",
            COLLAPSED if i < 6 else HEALTHY,
            editor=f"e{i % 6}",
            guard="none" if i < 6 else "revive",
        )
        for i in range(12)
    ]
    text = narrative(load_runs(arms))
    assert len(text) < 1500
    assert "\n" not in text
    assert "Of the other 10 arms, 5 collapsed." in text
