import io
import math

import pytest
from rich.console import Console

from revive.cli import progress
from revive.cli.progress import RunProgress
from revive.cli.watch import ProgressObserver


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test moves."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def console(**options):
    return Console(file=io.StringIO(), color_system=None, **options)


def test_plain_lines_come_every_minute(clock):
    out = console(width=80)
    with RunProgress(["memit"], 1000, console=out) as shown:
        for second in range(0, 150, 3):
            clock[0] = float(second)
            shown.update("memit", edits=second, efficacy=0.987, phase="keys")
        shown.finish("memit")
        shown.update("memit", phase="again")
        shown.finish("memit")
    lines = out.file.getvalue().splitlines()
    assert len(lines) == 4
    assert lines[1] == "memit: 60/1,000 edits, eff 0.99, 1/s, 15:40 left, keys"
    assert lines[-1] == "memit: 147/1,000 edits, eff 0.99, 1/s, done"


@pytest.mark.parametrize(
    ("metrics", "told"),
    [
        ({"efficacy": 0.82, "efficacy_exact": 0.3, "general": 0.5}, "eff 0.82, gen 0.50"),
        ({"efficacy": math.nan, "efficacy_exact": 0.3}, "exact 0.30"),
        ({"efficacy_exact": 0.3}, "exact 0.30"),
    ],
)
def test_one_run_and_a_sweep_show_the_efficacy_of_the_table(clock, capsys, metrics, told):
    out = console(width=80)
    with RunProgress(["memit"], 10, console=out) as shown:
        shown.follow("memit", 10, metrics, "done")
    assert out.file.getvalue().splitlines()[-1] == f"memit: 10/10 edits, {told}, done"
    observer = ProgressObserver("memit", quiet=False)
    observer.started(0, 10)
    observer.measured(0, {"efficacy": 0.11, "efficacy_exact": 0.11})
    observer.measured(10, metrics)
    observer.close()
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == f"memit: 0/10 edits, {told}, done"


def test_a_resumed_run_shows_its_own_speed(clock):
    out = console(width=80)
    with RunProgress(["memit"], 1000, console=out) as shown:
        shown.update("memit", phase="loading")
        clock[0] = 100.0
        shown.update("memit", edits=500)
        clock[0] = 160.0
        shown.update("memit", edits=600)
    assert "1.67/s, 4:00 left" in out.file.getvalue().splitlines()[-1]


def test_quiet_prints_nothing():
    out = console(width=80, force_terminal=True)
    with RunProgress(["memit"], 10, quiet=True, console=out) as shown:
        shown.update("memit", edits=5)
        shown.finish("memit")
    assert out.file.getvalue() == ""


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_live_row_fits_its_terminal(clock, width):
    out = console(width=width, force_terminal=True)
    with RunProgress(["memit [seq] + revive, a long name"], 2000, console=out) as shown:
        shown.update("memit [seq] + revive, a long name", edits=0)
        clock[0] = 10.0
        shown.update(
            "memit [seq] + revive, a long name",
            edits=1500,
            efficacy=0.98,
            general=0.91,
            phase="targets",
        )
    text = out.file.getvalue()
    assert "1500/2000 eff 0.98 gen 0.91 150/s 0:03 left" in text


def test_progress_goes_to_stderr(capsys):
    with RunProgress(["memit"], 10) as shown:
        shown.update("memit", edits=5)
        shown.finish("memit")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "5/10" in captured.err


def test_an_unknown_arm_is_a_programming_error():
    with pytest.raises(KeyError):
        RunProgress(["a"], 1, quiet=True).update("b", edits=1)
