"""Arms: several runs over one stream, each in a process of its own, watched through their journals.

One process per arm keeps them apart and uses the cores better than threads do on small models.
The run folder is the truth: an arm that is finished is kept, one that was interrupted resumes.
"""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from revive.errors import ReviveError
from revive.run_folder.journal_watcher import JournalWatcher, Lead, Report
from revive.sweeps.executor import Attempt, Ended, Executor, LocalExecutor

_LOG = logging.getLogger(__name__)
_POLL_SECONDS = 0.5


@dataclass(frozen=True)
class RunVariant:
    """One run of a comparison.

    Attributes:
        name: Its folder.
        label: Its name in the report.
        spec: Its spec, as plain data.
    """

    name: str
    label: str
    spec: dict[str, Any] = field(default_factory=dict[str, Any])


class VariantFailed(ReviveError):
    """An arm ended with an error; its own message and exit code are kept."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def run_variants(
    arms: Sequence[RunVariant],
    out: Path,
    *,
    jobs: int | None = None,
    report: Report | None = None,
    keep_going: bool = False,
    lead: bool = False,
    retries: int = 0,
    place: Executor | None = None,
) -> dict[str, str]:
    """Run every arm to its end, at most `jobs` at a time.

    Args:
        arms: What to run.
        out: Their folders are made below this one.
        jobs: Runs at a time; default as many as the place takes.
        report: Told about progress.
        keep_going: Whether the others go on when one fails.
        lead: Whether the others wait until the first has measured the unedited model. What arms
            share, moments and that measurement, is then computed once and kept, not by all at once.
        retries: How often an arm that failed is tried again. It resumes from what it has committed;
            a failure that would only repeat itself, of a spec for example, is final at once.
        place: Where processes are; this machine by default.

    Returns:
        Reason by name, of those that failed.

    Raises:
        VariantFailed: An arm failed; the others were stopped, and all of them can resume.
    """
    failures: dict[str, str] = {}
    out.mkdir(parents=True, exist_ok=True)
    where: Executor = LocalExecutor() if place is None else place
    waiting = [arm for arm in arms if not (out / arm.name / "summary.json").exists()]
    left = {arm.name: retries for arm in waiting}
    running: dict[str, Attempt] = {}
    followers: dict[str, JournalWatcher] = {}
    limit = jobs or where.slots
    first = Lead(waiting[0].name, out) if lead and waiting else None
    try:
        while waiting or running:
            if first is not None and running and (first.done() or first.name not in running):
                first = None
            while waiting and len(running) < (limit if first is None else 1):
                arm = waiting.pop(0)
                running[arm.name] = where.attempt(arm.name, {**arm.spec, "label": arm.label}, out)
            time.sleep(_POLL_SECONDS)
            for arm in [arm for arm in arms if arm.name in running]:
                attempt = running[arm.name]
                ended = attempt.poll()
                if report is not None and (attempt.begun or ended is not None):
                    follower = followers.setdefault(
                        arm.name, JournalWatcher(arm.label, arm.name, out)
                    )
                    follower.tell(report, _phase(ended, left[arm.name]))
                if ended is None:
                    continue
                del running[arm.name]
                if ended.code == 0:
                    continue
                if not ended.final and left[arm.name]:
                    left[arm.name] -= 1
                    waiting.insert(0, arm)
                    tries = f"{retries - left[arm.name]} of {retries}"
                    _LOG.warning("%s: %s; tried again (%s)", arm.label, ended.reason, tries)
                    continue
                failure = VariantFailed(f"arm {arm.label}: {ended.reason}", max(ended.code, 1))
                if not keep_going:
                    raise failure
                failures[arm.name] = str(failure)
    finally:
        for attempt in running.values():
            attempt.stop()
        for attempt in running.values():
            attempt.wait()
    return failures


def _phase(ended: Ended | None, left: int) -> str | None:
    """What an arm is doing, where its journal does not tell."""
    if ended is None:
        return None
    if ended.code == 0:
        return "done"
    return "failed" if ended.final or not left else "trying again"
