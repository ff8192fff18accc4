"""Reading a journal: one JSON object a line, where the last line may be torn."""

import json
from pathlib import Path
from typing import Any, cast

from revive.errors import SpecError

Event = dict[str, Any]


def read_events(path: Path) -> list[Event]:
    """Read the events that stand, in order.

    A last line that does not parse is what a kill leaves behind and is dropped. Batches and
    measurements that a later `rollback` undid are left out.

    Args:
        path: `journal.jsonl` of a run.

    Raises:
        SpecError: A line other than the last does not parse or holds no event.
    """
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    while lines and not lines[-1].strip():
        lines.pop()
    events: list[Event] = []
    for number, line in enumerate(lines, start=1):
        event = _parse(line)
        if event is None:
            if number == len(lines):
                break
            raise SpecError(
                f"{path}, line {number}: not a journal event. Only a last line may be torn; "
                "restore the file from a copy or run the stream again."
            )
        events.append(event)
    return _standing(events)


def _parse(line: str) -> Event | None:
    try:
        value: object = json.loads(line)
    except json.JSONDecodeError:
        return None
    if not isinstance(value, dict):
        return None
    event = cast("Event", value)
    return event if isinstance(event.get("event"), str) else None


def _standing(events: list[Event]) -> list[Event]:
    standing: list[Event] = []
    for event in events:
        target = event.get("to", event.get("step"))
        if event["event"] == "rollback" and isinstance(target, int):
            undone = ("batch", "measure")
            standing = [e for e in standing if e["event"] not in undone or _step(e) <= target]
        standing.append(event)
    return standing


def _step(event: Event) -> int:
    step = event.get("step")
    return step if isinstance(step, int) else 0
