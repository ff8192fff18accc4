"""Which events of a journal stand, after any rollbacks; and what it costs to know."""

import json
import sys

from hypothesis import given
from hypothesis import strategies as st

from revive.report.reading.events import read_events
from revive.run_folder.journal import Journal
from revive.run_folder.summary import standing
from revive.runs.alarm import edits_left
from revive.runs.status import run_status
from revive.spec.schema import AlarmSpec

SPEC = "model: {name: lab}\nedits: {path: lab}\neditor: {name: memit, layers: [0]}\n"


def plainly(events):
    """The rule as it reads: every rollback goes through everything before it."""
    kept = []
    for event in events:
        if event["event"] == "rollback":
            kept = [e for e in kept if e.get("batch", e["step"]) <= event["step"]]
            if event.get("edit"):
                at = ("measure", event["step"])
                kept = [e for e in kept if (e["event"], e["step"]) != at]
        kept.append(event)
    return kept


EVENT = st.one_of(
    st.builds(
        lambda kind, step: {"event": kind, "step": step},
        st.sampled_from(["batch", "measure", "checkpoint", "resume", "rollback"]),
        st.integers(0, 6),
    ),
    st.builds(
        lambda batch, more: {
            "event": "rollback",
            "step": batch + more,
            "edit": "x",
            "batch": batch,
        },
        st.integers(1, 4),
        st.integers(0, 3),
    ),
)


@given(st.lists(EVENT, max_size=40))
def test_it_is_what_the_rule_says(events):
    found = standing(events)
    assert [id(e) for e in found] == [id(e) for e in plainly(events)]


def test_the_rule_takes_something_out():
    events = [{"event": "batch", "step": 1}, {"event": "rollback", "step": 0}]
    assert standing(events) == events[1:]


def site():
    return {"asked": 1.0, "applied": 1.0, "leak": 0.0, "removed": {}, "rank": 1}


def write_run(folder, batches, rollbacks):
    """A journal of so many batches, of which the last one was undone and made again often."""
    folder.mkdir()
    (folder / ".lock").touch()
    (folder / "spec.yaml").write_text(SPEC, "utf-8")
    common = {"time": 0.0, "schema": 1}
    events = [{"event": "start", "step": 0, "edits": batches, "edits_fingerprint": "x", **common}]

    def batch(step):
        made = {"edits": [f"e{step}"], "made": [f"e{step}"], "failed": [], "seconds": {"solve": 1}}
        return {"event": "batch", "step": step, **made, "sites": {"w": site()}, **common}

    def measure(step):
        found = {"edits": step, "metrics": {"weight_norm_ratio": 1.0 + step / 1e6}}
        return {"event": "measure", "step": step, "seconds": 1.0, **found, **common}

    for step in range(1, batches + 1):
        events += [batch(step), *([measure(step)] if step % 100 == 0 else [])]
    for number in range(rollbacks):
        if number % 2:
            taken = {"edit": f"e{number}", "batch": number, "to": batches}
            events.append({"event": "rollback", "step": batches, **taken, **common})
        else:
            events.append({"event": "rollback", "step": batches - 1, "to": batches - 1, **common})
            events += [batch(batches), measure(batches)]
    text = "".join(json.dumps(event) + "\n" for event in events)
    (folder / "journal.jsonl").write_text(text, "utf-8")
    return events


def lines(work):
    """Lines of Python that ours runs: work, counted."""
    count = 0

    def trace(frame, event, _):
        nonlocal count
        if "/revive/" not in frame.f_code.co_filename:
            return None
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


def test_two_thousand_rollbacks_cost_what_so_many_lines_do(tmp_path):
    """Four times the journal is four times the work, for everything that reads one."""
    alarm = AlarmSpec()
    found = {}
    for size in (1, 4):
        folder = tmp_path / str(size)
        events = write_run(folder, 500 * size, 50 * size)
        readers = {
            "status": lambda f=folder: run_status(f),
            "report": lambda f=folder: read_events(f / "journal.jsonl"),
            "forecast": lambda e=events: edits_left(alarm, e),
            "open": lambda f=folder: Journal.open(f / "journal.jsonl"),
        }
        found[size] = {name: lines(work) for name, work in readers.items()}
    for name, count in found[4].items():
        assert 3 < count / found[1][name] < 5, (name, found)


def test_the_issue_s_own_case(tmp_path):
    """20,000 batches and 2,000 rollbacks, which took 98 seconds."""
    write_run(tmp_path / "run", 20_000, 2_000)
    status = run_status(tmp_path / "run")
    assert (status.step, status.removed) == (20_000, 1_000)
