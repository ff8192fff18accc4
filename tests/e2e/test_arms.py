"""Several arms at once: one may go ahead until what they share has been computed."""

import pytest
import yaml
from e2e_runs import journal

from revive.sweeps.variants import RunVariant, run_variants


def arms_of(write_spec):
    spec = yaml.safe_load(write_spec(edits=2).read_text("utf-8"))
    guards = ("revive", "none", "left-only")
    return [RunVariant(name, name, {**spec, "guard": {"name": name}}) for name in guards]


def at(folder, kind):
    return next(e["time"] for e in journal(folder) if e["event"] == kind)


@pytest.mark.parametrize("lead", [True, False])
def test_the_others_wait_for_what_they_share(write_spec, tmp_path, lead):
    arms = arms_of(write_spec)
    assert run_variants(arms, tmp_path / "out", jobs=3, lead=lead) == {}
    folders = [tmp_path / "out" / arm.name for arm in arms]
    assert all((folder / "summary.json").exists() for folder in folders)
    measured = at(folders[0], "measure")
    # An arm's spec is written when it is launched.
    launched = [(tmp_path / "out" / f"{arm.name}.yaml").stat().st_mtime for arm in arms]
    # Negative control: without a lead all of them are launched at once.
    assert [moment > measured for moment in launched] == [False, lead, lead]


def test_a_lead_that_fails_holds_nobody_up(write_spec, tmp_path):
    arms = arms_of(write_spec)
    broken = RunVariant(
        "broken", "broken", {**arms[0].spec, "model": {"name": str(tmp_path / "none")}}
    )
    failures = run_variants(
        [broken, *arms[1:]], tmp_path / "out", jobs=3, lead=True, keep_going=True
    )
    assert list(failures) == ["broken"]
    assert all((tmp_path / "out" / arm.name / "summary.json").exists() for arm in arms[1:])
